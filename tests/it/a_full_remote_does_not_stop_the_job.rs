//! While the remote has no room the job goes on; nothing short on it is ever restored, and once there is room it ships.

use std::io::Write;
use std::net::TcpStream;

use crate::support::{RemotePlace, Volume, skip, wait_until_shipped};

#[test]
fn and_it_ships_once_there_is_room() {
    let volume = match Volume::sized("ext4", "16M") {
        Ok(volume) => volume,
        Err(reason) => return skip("a full remote", &reason),
    };
    let place = RemotePlace::new();
    let remote = format!("file://{}", volume.path().display());
    let running = place.demo_at(&place.data(), &remote).start();
    let send = |lines: &str| {
        TcpStream::connect(running.listening_at()).unwrap().write_all(lines.as_bytes()).unwrap();
    };
    send("1 10\n1 20\n");
    running.wait_for_outputs(1);
    wait_until_shipped(&running);
    let filler = volume.fill();
    let lines: String = (0..20_000).map(|key| format!("{key} 1\n")).collect();
    send(&lines);
    let line = running.wait_for_log("checkpoints do not reach the remote");
    assert!(line.contains("No space left"), "{line}");
    send("1 30\n");
    running.wait_for_outputs(3);
    let verified = place.run(&["checkpoint", "verify", &remote]);
    assert_eq!(verified.0, Some(0), "{}{}", verified.1, verified.2);
    std::fs::remove_file(filler).unwrap();
    running.wait_for_log("the remote answers again");
    wait_until_shipped(&running);
    assert_eq!(running.logs("checkpoints do not reach the remote").len(), 1);
    let _ended = running.stop().in_order();
    let verified = place.run(&["checkpoint", "verify", &remote]);
    assert_eq!(verified.0, Some(0), "{}{}", verified.1, verified.2);
}
