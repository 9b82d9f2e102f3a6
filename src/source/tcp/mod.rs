//! Lines over TCP, as a client (`connect`) or a server (`listen`), which may speak TLS (`tls`, `handshakes`).
//!
//! A line ends at `\n` or `\r\n`; what precedes the end of the stream is a line too. Plain TCP has no
//! acknowledgement: a reading is ours once it is read, and what the kernel still holds at a crash is lost to us. A
//! listening source may offer one (`crate::source::connection`).
//!
//! Back-pressure: a connection hands over one chunk of lines at a time and fills the next meanwhile; when that is
//! full too it stops reading, and the sender's TCP window closes.

mod config;
mod connect;
mod handshakes;
mod keep_alive;
mod listen;
mod tls;

pub use config::{Retry, TcpConnect, TcpListen};
pub(crate) use connect::run_tcp_connect;
pub(crate) use listen::{OpenTcpListen, run_tcp_listen};
pub use tls::{ClientCertificate, TlsListen};
