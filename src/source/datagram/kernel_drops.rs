//! How many datagrams the kernel dropped because a UDP socket's receive buffer was full, or their checksum was wrong.
//!
//! The kernel counts them for each socket, in 32 bits that wrap, and shows the count as the last column of the socket's row
//! in `/proc/net/udp` or `/proc/net/udp6`; a row is known by the socket's inode.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use crate::disk::{RealDisk, read_whole};

/// Longest table that is read, in bytes: some thirty thousand sockets.
const TABLE_BYTES_MAX: u64 = 4 << 20;
/// Column of the inode, and of the drops.
const INODE_COLUMN: usize = 9;
const DROPS_COLUMN: usize = 12;

/// The kernel's counter of one socket.
#[derive(Debug)]
pub(super) struct KernelDrops {
    inode: u64,
    table: &'static str,
    seen: u32,
}

impl KernelDrops {
    /// The counter of `socket`, which is bound to an address of the kind of `address`.
    ///
    /// # Errors
    /// When the kernel does not show it, for instance because `/proc` is restricted.
    pub(super) fn of(socket: &std::net::UdpSocket, address: SocketAddr) -> io::Result<Self> {
        let inode = rustix::fs::fstat(socket)?.st_ino;
        let table = if address.is_ipv4() { "/proc/self/net/udp" } else { "/proc/self/net/udp6" };
        let mut drops = Self { inode, table, seen: 0 };
        drops.since_last_look()?;
        Ok(drops)
    }

    /// Datagrams dropped since the last look.
    ///
    /// # Errors
    /// When the kernel does not show the counter.
    pub(super) fn since_last_look(&mut self) -> io::Result<u64> {
        let table = read_whole(&RealDisk, Path::new(self.table), TABLE_BYTES_MAX)?;
        let count = drops_of(&String::from_utf8_lossy(&table), self.inode).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{} lacks the socket", self.table))
        })?;
        let dropped = count.wrapping_sub(self.seen);
        self.seen = count;
        Ok(dropped.into())
    }
}

/// The drops of the socket with this inode.
fn drops_of(table: &str, inode: u64) -> Option<u32> {
    table.lines().skip(1).find_map(|row| {
        let mut columns = row.split_ascii_whitespace().skip(INODE_COLUMN);
        if columns.next()?.parse() != Ok(inode) {
            return None;
        }
        columns.nth(DROPS_COLUMN - INODE_COLUMN - 1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_known_by_its_inode() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops             \n\
                     \x20 312: 0100007F:2328 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 71234 2 0000000000000000 0         \n\
                     10313: 0100007F:2329 00000000:0000 07 00000000:00034500 00:00000000 00000000  1000        0 71235 2 0000000000000000 4294967295\n";
        assert_eq!(drops_of(table, 71234), Some(0));
        assert_eq!(drops_of(table, 71235), Some(u32::MAX));
        assert_eq!(drops_of(table, 1000), None, "another column");
        assert_eq!(drops_of("", 1), None);
    }

    #[test]
    fn what_does_not_fit_is_counted_once() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(receiver) = std::net::UdpSocket::bind(address) else { continue };
            socket2::SockRef::from(&receiver).set_recv_buffer_size(1).unwrap();
            let address = receiver.local_addr().unwrap();
            let mut drops = KernelDrops::of(&receiver, address).unwrap();
            let sender = std::net::UdpSocket::bind((address.ip(), 0)).unwrap();
            for _ in 0..100 {
                sender.send_to(b"1 2", address).unwrap();
            }
            receiver.set_nonblocking(true).unwrap();
            let mut received = 0;
            while receiver.recv(&mut [0; 16]).is_ok() {
                received += 1;
            }
            assert_eq!(received + drops.since_last_look().unwrap(), 100);
            assert!(received < 100, "the buffer holds few");
            assert_eq!(drops.since_last_look().unwrap(), 0);
        }
    }
}
