//! A careful sender: keeps what is not acknowledged and goes on behind the number it is greeted with.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes in one write.
const WRITE_BYTES: usize = 512;

/// Sends `lines` as `client` over one connection, from where the journal ends, until they are all acknowledged or the
/// connection ends. `acknowledged` is kept at the last number heard; hearing a smaller one is a fault.
/// `pace` is the time between two writes of 512 bytes: it decides how long the sending takes, nothing waits for it.
pub(crate) fn send_carefully(
    address: SocketAddr,
    client: &str,
    lines: &[String],
    pace: Duration,
    acknowledged: &AtomicU64,
) {
    let Ok(mut stream) = TcpStream::connect(address) else {
        // The program is not up yet, or not any more.
        std::thread::sleep(Duration::from_millis(2));
        return;
    };
    let Ok(reading) = stream.try_clone() else { return };
    let mut answers = BufReader::new(reading).lines();
    let mut next_answer = || -> Option<u64> {
        let answer = answers.next()?.ok()?;
        let number = answer.strip_prefix("DURABLE ").and_then(|number| number.parse().ok());
        let number = number.unwrap_or_else(|| panic!("an answer {answer:?}"));
        let before = acknowledged.fetch_max(number, Ordering::SeqCst);
        assert!(before <= number, "{number} lines durable after {before} were");
        Some(number)
    };
    if writeln!(stream, "HELLO {client}").is_err() {
        return;
    }
    let Some(durable) = next_answer() else { return };
    let rest = &lines[usize::try_from(durable).unwrap()..];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut buffer = Vec::new();
            for line in rest {
                buffer.extend_from_slice(line.as_bytes());
                buffer.push(b'\n');
                if buffer.len() >= WRITE_BYTES {
                    if stream.write_all(&buffer).is_err() {
                        return;
                    }
                    buffer.clear();
                    std::thread::sleep(pace);
                }
            }
            if stream.write_all(&buffer).is_ok() {
                // The answers still come.
                stream.shutdown(Shutdown::Write).ok();
            }
        });
        while next_answer().is_some() {}
    });
}
