//! The sockets: bound at the start of the job, received from while it runs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use socket2::{Domain, Socket, Type};
use tokio::net::{UdpSocket, UnixDatagram};

use super::config::{UdpReceive, UnixReceive};
use super::kernel_drops::KernelDrops;
use crate::runtime::JobError;
use crate::source::connection::check_memory;
use crate::source::unix::{SocketFile, check_mode};

/// What the kernel is asked to hold unless told otherwise, in bytes.
const RECEIVE_BUFFER_BYTES_DEFAULT: usize = 1 << 20;

/// A bound socket.
enum Bound {
    Udp(std::net::UdpSocket),
    Unix(std::os::unix::net::UnixDatagram),
}

/// A socket that is ours, and what is known of it.
pub(crate) struct OpenDatagrams {
    /// Dropped before the socket.
    pub(super) file: Option<SocketFile>,
    bound: Bound,
    pub(super) drops: Option<KernelDrops>,
    pub(super) datagram_bytes_max: usize,
    /// Bytes the kernel holds; `None` where senders wait.
    pub(super) receive_buffer_bytes: Option<usize>,
    /// Its address, or the path of its file.
    pub(super) place: Arc<str>,
}

impl OpenDatagrams {
    /// Where what it rejects is counted.
    pub(crate) fn kind(&self) -> &'static str {
        match self.bound {
            Bound::Udp(_) => "udp",
            Bound::Unix(_) => "unix",
        }
    }

    /// Registers the socket with the runtime.
    pub(super) fn socket(&self) -> io::Result<DatagramSocket> {
        match &self.bound {
            Bound::Udp(socket) => Ok(DatagramSocket::Udp(UdpSocket::from_std(socket.try_clone()?)?)),
            Bound::Unix(socket) => Ok(DatagramSocket::Unix(UnixDatagram::from_std(socket.try_clone()?)?)),
        }
    }

    /// Receives a datagram into `buffer`, cut to its length, without asking the runtime whether there is one.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub(super) fn receive_now<'b>(&self, buffer: &'b mut [u8]) -> io::Result<(&'b [u8], Option<SocketAddr>)> {
        let (length, sender) = match &self.bound {
            Bound::Udp(socket) => socket.recv_from(buffer).map(|(length, sender)| (length, Some(sender)))?,
            Bound::Unix(socket) => (socket.recv(buffer)?, None),
        };
        Ok((buffer.get(..length).unwrap_or_default(), sender))
    }
}

impl UdpReceive {
    /// Takes the port.
    ///
    /// # Errors
    /// [`JobError::Source`] when it cannot be had, [`JobError::Configuration`] for limits that cannot be used.
    pub(crate) fn open(self) -> Result<OpenDatagrams, JobError> {
        check_memory(self.datagram_bytes_max, 1)?;
        self.bind().map_err(|source| JobError::Source { origin: format!("udp {}", self.address), source })
    }

    fn bind(&self) -> io::Result<OpenDatagrams> {
        let socket = Socket::new(Domain::for_address(self.address), Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        let receive_buffer_bytes = set_receive_buffer(&socket, self.receive_buffer_bytes)?;
        socket.bind(&self.address.into())?;
        let socket: std::net::UdpSocket = socket.into();
        let address = socket.local_addr()?;
        let drops = match KernelDrops::of(&socket, address) {
            Ok(drops) => Some(drops),
            Err(error) => {
                tracing::warn!(%address, %error, "what the kernel drops cannot be counted");
                None
            }
        };
        Ok(OpenDatagrams {
            bound: Bound::Udp(socket),
            file: None,
            drops,
            datagram_bytes_max: self.datagram_bytes_max,
            receive_buffer_bytes: Some(receive_buffer_bytes),
            place: address.to_string().into(),
        })
    }
}

/// Asks for a receive buffer; says how large it is.
fn set_receive_buffer(socket: &Socket, asked: Option<usize>) -> io::Result<usize> {
    let wanted = asked.unwrap_or(RECEIVE_BUFFER_BYTES_DEFAULT);
    socket.set_recv_buffer_size(wanted)?;
    // Linux doubles what it is asked for, to cover its own costs, and says the double.
    let granted = socket.recv_buffer_size()? / 2;
    if asked.is_some() && granted < wanted {
        tracing::warn!(
            wanted,
            granted,
            "the kernel allows a smaller receive buffer: raise net.core.rmem_max with sysctl"
        );
    }
    Ok(granted)
}

impl UnixReceive {
    /// Takes the socket file.
    ///
    /// # Errors
    /// [`JobError::Source`] when it cannot be had, [`JobError::Configuration`] for settings that cannot be used.
    pub(crate) fn open(self) -> Result<OpenDatagrams, JobError> {
        check_memory(self.datagram_bytes_max, 1)?;
        check_mode(self.mode)?;
        let place: Arc<str> = self.path.display().to_string().into();
        let (file, socket) = SocketFile::bind(&self.path, Type::DGRAM, self.mode)
            .map_err(|source| JobError::Source { origin: place.to_string(), source })?;
        Ok(OpenDatagrams {
            bound: Bound::Unix(socket.into()),
            file: Some(file),
            drops: None,
            datagram_bytes_max: self.datagram_bytes_max,
            receive_buffer_bytes: None,
            place,
        })
    }
}

/// A socket of the runtime's.
pub(super) enum DatagramSocket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl DatagramSocket {
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.readable().await,
            Self::Unix(socket) => socket.readable().await,
        }
    }

    /// Receives a datagram behind what is in `bytes`, cut to the room there; says who sent it, where that is known.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub(super) fn receive(&self, bytes: &mut Vec<u8>) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Udp(socket) => socket.try_recv_buf_from(bytes).map(|(_, sender)| Some(sender)),
            Self::Unix(socket) => socket.try_recv_buf(bytes).map(|_| None),
        }
    }
}
