//! Lines over a Unix stream socket, from processes of this machine: as `tcp` listening does, with the same handshake for
//! clients that want acknowledgements. Who may connect is up to the socket file's mode and directory.
//!
//! `socket_file` keeps one socket file to one process, and serves the datagram source too.

mod config;
mod listen;
mod socket_file;

pub use config::UnixListen;
pub(crate) use config::{MODE_DEFAULT, check_mode};
pub(crate) use listen::{OpenUnixListen, run_unix_listen};
pub(crate) use socket_file::SocketFile;
