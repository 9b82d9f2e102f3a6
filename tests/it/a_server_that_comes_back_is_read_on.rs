//! A server that goes away and comes back in time is read on; one that stays away ends the input.

use crate::support::{Demo, LineServer, send, wait_until};

/// Nobody else takes ports of this address, so the server finds its own free when it comes back.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 77], 0);

#[test]
fn both_connections_are_processed_in_order() {
    let server = LineServer::start_at(ADDRESS.into()).unwrap();
    let address = server.address();
    let demo = Demo::new().in_memory().arg("--connect").arg(address.to_string());
    let running = demo.args(["--verbose", "--retry-for", "60s"]).start();
    let mut connection = server.accept();
    // The last line is whole because the connection ends.
    send(&mut connection, "1 3\n1 5\n2 8");
    running.wait_for_outputs(1);
    // In this order: a client that comes back at once finds nobody.
    drop((server, connection));
    running.wait_for_log("cannot connect: trying again");

    let mut again = None;
    wait_until(
        || {
            again = LineServer::start_at(address).ok();
            again.is_some()
        },
        || format!("{address} stays taken"),
    );
    let server = again.unwrap();
    let mut connection = server.accept();
    send(&mut connection, "1 7\n2 10\n");
    running.wait_for_outputs(3);
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout, "(1,4)\n(1,5)\n(2,9)\n");
    assert_eq!(ended.logs("INFO connected").len(), 2);
}

#[test]
fn its_absence_is_a_warning() {
    let server = LineServer::start_at(ADDRESS.into()).unwrap();
    let demo = Demo::new().in_memory().arg("--connect").arg(server.address().to_string());
    let running = demo.args(["--retry-for", "1s"]).start();
    let connection = server.accept();
    drop((server, connection));
    let ended = running.wait().in_order();
    assert!(ended.log("cannot connect: trying again").contains("WARN"), "the first failure is news");
}

#[test]
fn one_that_stays_away_ends_the_input() {
    let server = LineServer::start_at(ADDRESS.into()).unwrap();
    let demo = Demo::new().in_memory().arg("--connect").arg(server.address().to_string());
    let running = demo.args(["--retry-for", "200ms"]).start();
    let mut connection = server.accept();
    send(&mut connection, "1 3\n1 5\n");
    drop((server, connection));
    let ended = running.wait().in_order();
    assert_eq!(ended.stdout, "(1,4)\n");
    ended.log("did not come back");
}
