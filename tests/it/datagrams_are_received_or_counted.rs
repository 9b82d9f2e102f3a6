//! Each UDP datagram is processed, or counted by cause: what the kernel dropped too.

use std::net::UdpSocket;

use rustix::process::Signal;

use crate::support::{Averages, Demo, Ended, Random, Running, field};

/// The longest payload that UDP over IPv4 carries.
const UDP_BYTES_MAX: usize = 65_507;

fn receive(arguments: &[&str]) -> (Running, UdpSocket) {
    let address = if arguments.contains(&"--udp") { &[][..] } else { &["--udp", "0"] };
    let running = Demo::new().in_memory().args(address.iter().chain(arguments).copied()).start();
    let address = running.receiving_at();
    let sender = UdpSocket::bind((address.ip(), 0)).unwrap();
    sender.connect(address).unwrap();
    (running, sender)
}

fn readings(ended: &Ended) -> u64 {
    field(&ended.log("ended"), "readings").parse().unwrap()
}

#[test]
fn a_datagram_is_one_or_more_lines() {
    for address in ["0", "[::1]:0"] {
        let (running, sender) = receive(&["--udp", address]);
        for datagram in ["1 3", "1 5\n", "1 7\r\n1 4", "1 2\n1 9\n"] {
            assert_eq!(sender.send(datagram.as_bytes()).unwrap(), datagram.len());
        }
        running.wait_for_outputs(5);
        assert_eq!(running.stop().in_order().stdout, "(1,4)\n(1,5)\n(1,4)\n(1,4)\n(1,5)\n");
    }
}

#[test]
fn a_line_never_goes_on_in_the_next_datagram() {
    let (running, sender) = receive(&[]);
    for datagram in ["1 3", "1 ", "5", "1 5"] {
        sender.send(datagram.as_bytes()).unwrap();
    }
    running.wait_for_outputs(1);
    let ended = running.stop().in_order();
    assert_eq!((ended.stdout.as_str(), ended.rejected_for("missing-column")), ("(1,4)\n", 2));
}

#[test]
fn giant_empty_and_undecodable_ones_are_counted_and_harm_nothing() {
    let (running, sender) = receive(&["--line-max", "1KiB"]);
    let padded = |length: usize| format!("4 {:>width$}", 1, width = length - 2).into_bytes();
    sender.send(b"1 3").unwrap();
    for length in [1025, 2000, UDP_BYTES_MAX] {
        sender.send(&padded(length)).unwrap();
        sender.send(b"").unwrap();
        sender.send(b"2 \xff\n\xc3\n2 \0").unwrap();
        sender.send(&padded(1024)).unwrap();
    }
    sender.send(b"1 5").unwrap();
    running.wait_for_outputs(3);
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout, "(4,1)\n(4,1)\n(1,4)\n");
    let counts = ["message-too-long", "empty", "not-utf8", "nul"].map(|cause| ended.rejected_for(cause));
    assert_eq!(counts, [3, 3, 6, 3], "{}", ended.stderr);
    let sample = &ended.logs("cause=message-too-long")[0];
    assert_eq!(field(sample, "origin"), format!("\"udp:{}\"", sender.local_addr().unwrap()));
}

#[test]
fn the_longest_datagram_there_is_fits_the_default_limit() {
    let (running, sender) = receive(&[]);
    let lines = "7 1234\n".repeat(UDP_BYTES_MAX / 7);
    sender.send(lines.as_bytes()).unwrap();
    running.wait_for_outputs(UDP_BYTES_MAX / 7 - 1);
    let ended = running.stop().in_order();
    assert_eq!(ended.rejected(), []);
}

/// Freezes the program, so that the kernel has no room for most of a flood.
#[test]
fn a_flood_is_received_or_counted_to_the_last_datagram() {
    const FLOOD: u64 = 50_000;
    let (running, sender) = receive(&["--receive-buffer", "64KiB"]);
    running.signal(Signal::STOP);
    running.wait_until_frozen();
    for index in 0..FLOOD {
        sender.send(format!("{} {index}", index % 10).as_bytes()).unwrap();
    }
    running.signal(Signal::CONT);
    running.wait_for_log("the kernel dropped datagrams");
    // It goes on, while the flood does.
    let before = running.output_count();
    let mut more = 0;
    while running.output_count() < before + 1000 {
        sender.send(b"1 1").unwrap();
        more += 1;
    }
    let ended = running.stop().in_order();
    let dropped = ended.rejected_for("kernel-drop");
    assert!(dropped > FLOOD / 2, "{dropped} dropped");
    assert_eq!(readings(&ended) + dropped, FLOOD + more, "{}", ended.stderr);
    assert!(ended.rejected().contains(&("udp".to_owned(), "kernel-drop".to_owned(), dropped)));
}

#[test]
fn a_stop_takes_what_the_kernel_holds() {
    const HELD: usize = 100;
    let (running, sender) = receive(&[]);
    running.signal(Signal::STOP);
    running.wait_until_frozen();
    for _ in 0..HELD {
        sender.send(b"1 1").unwrap();
    }
    running.signal(Signal::TERM);
    running.signal(Signal::CONT);
    let ended = running.wait().in_order();
    assert_eq!((readings(&ended), ended.stdout.lines().count()), (HELD as u64, HELD - 1), "{}", ended.stderr);
}

#[test]
fn random_bytes_never_harm_the_good_ones() {
    const LINE_BYTES_MAX: usize = 64 * 1024;
    let mut random = Random::seeded();
    let (running, sender) = receive(&[]);
    let mut model = Averages::default();
    let mut empty = 0;
    for _ in 0..40 {
        for _ in 0..100 {
            let length = random.within(0..40);
            // Mostly what readings are made of.
            let datagram: Vec<u8> = (0..length)
                .map(|_| match random.within(0..20) {
                    0 => u8::try_from(random.within(0..256)).unwrap(),
                    choice => b"0123456789 \n 12 \n\r1"[choice - 1],
                })
                .collect();
            sender.send(&datagram).unwrap();
            match datagram.last() {
                None => empty += 1,
                Some(b'\n') => model.add_bytes(&datagram, LINE_BYTES_MAX),
                Some(_) => model.add_bytes(&[&datagram[..], b"\n"].concat(), LINE_BYTES_MAX),
            }
        }
        // No more under way than the kernel has room for.
        sender.send(b"-1 1").unwrap();
        sender.send(b"-1 1").unwrap();
        model.add_bytes(b"-1 1\n-1 1\n", LINE_BYTES_MAX);
        running.wait_for_outputs(model.outputs.lines().count());
    }
    let ended = running.stop().in_order();
    assert_eq!(ended.rejected_for("kernel-drop"), 0);
    assert_eq!(ended.stdout, model.outputs);
    let expected = empty + model.rejected.values().sum::<u64>();
    assert_eq!(field(&ended.log("ended"), "rejected"), expected.to_string());
}

#[test]
fn a_port_in_use_and_a_buffer_that_is_not_granted_are_said() {
    let holder = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let ended = Demo::new().in_memory().args(["--udp", &address]).run();
    assert_eq!(ended.code, Some(69));
    assert!(ended.stderr.contains("Address already in use"), "{}", ended.stderr);
    let (running, sender) = receive(&["--receive-buffer", "1GiB"]);
    running.wait_for_log("net.core.rmem_max");
    sender.send(b"1 1\n1 1").unwrap();
    running.wait_for_outputs(1);
    running.stop().in_order();
}
