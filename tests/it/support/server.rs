//! A server of lines on a free port of the loopback address.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::descriptors::close;
use super::wait::{WAIT_MAX, wait_until};

/// Waits for the program under test to connect.
#[derive(Debug)]
pub(crate) struct LineServer {
    /// Always there until it is dropped.
    listener: Option<TcpListener>,
}

impl Drop for LineServer {
    fn drop(&mut self) {
        close(self.listener.take());
    }
}

impl LineServer {
    pub(crate) fn start() -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0))).expect("the loopback address has a free port")
    }

    pub(crate) fn start_at(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener: Some(listener) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener().local_addr().expect("a bound socket has an address")
    }

    /// The next client. Dropping it ends the connection.
    pub(crate) fn accept(&self) -> TcpStream {
        let mut client = None;
        wait_until(
            || {
                client = self.poll();
                client.is_some()
            },
            || "nobody connected".to_owned(),
        );
        client.expect("the wait ended with a client")
    }

    /// True when one more client has connected.
    pub(crate) fn has_another_client(&self) -> bool {
        self.poll().is_some()
    }

    /// Sends `bytes` to the first client, from a thread of its own, and closes the connection.
    pub(crate) fn serve(self, bytes: impl Into<Vec<u8>>) -> JoinHandle<()> {
        let bytes = bytes.into();
        std::thread::spawn(move || send(&mut self.accept(), &bytes))
    }

    fn listener(&self) -> &TcpListener {
        self.listener.as_ref().expect("it is there until it is dropped")
    }

    fn poll(&self) -> Option<TcpStream> {
        match self.listener().accept() {
            Ok((client, _)) => {
                client.set_nonblocking(false).expect("a socket can block");
                client.set_nodelay(true).expect("a socket takes options");
                client.set_write_timeout(Some(WAIT_MAX)).expect("a socket takes options");
                Some(client)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => panic!("cannot accept: {error}"),
        }
    }
}

/// Sends bytes that the program under test must take.
pub(crate) fn send(connection: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    connection.write_all(bytes.as_ref()).expect("the program takes what is sent");
}
