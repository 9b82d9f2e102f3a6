use std::collections::BTreeSet;

use bytes::Bytes;

use super::*;
use crate::disk::Random;

fn subscription(version: MqttVersion, qos: Qos) -> Subscription {
    Subscription {
        version,
        client_id: "c".into(),
        filters: vec!["t/#".into()],
        qos,
        clean_start: false,
        keep_alive: Duration::from_secs(60),
        session_expiry: Duration::from_secs(60),
        receive_maximum: 10,
        last_will: None,
        duplicates: Duplicates::Match,
    }
}

fn publish(qos: Qos, packet_id: PacketId, payload: impl Into<Bytes>) -> Publish {
    Publish {
        is_duplicate: false,
        qos,
        is_retained: false,
        topic: Bytes::from_static(b"t/a"),
        packet_id,
        payload: payload.into(),
        user_properties: Vec::new(),
    }
}

fn accept(session_present: bool) -> Incoming {
    Incoming::ConnAck(Ok(ConnAck { session_present, limits: BrokerLimits::default() }))
}

/// Connects, and takes the session to where messages come.
fn connected(subscriber: &mut Subscriber, session_present: bool, now: Instant) -> SessionFound {
    subscriber.connect(None, now);
    let Ok(Taken::Connected(found)) = subscriber.take(accept(session_present), now) else {
        panic!("accepted")
    };
    while let Some(reply) = subscriber.reply(now) {
        let Reply::Subscribe(packet_id) = reply else { panic!("{reply:?}") };
        subscriber.take(Incoming::SubAck(packet_id, vec![Ok(Qos::ExactlyOnce)]), now).unwrap();
    }
    found
}

fn session(qos: Qos) -> (Subscriber, Instant) {
    let now = Instant::now();
    let mut subscriber = Subscriber::new(subscription(MqttVersion::V5, qos), None, now);
    assert_eq!(connected(&mut subscriber, false, now), SessionFound::New);
    (subscriber, now)
}

fn replies(subscriber: &mut Subscriber, now: Instant) -> Vec<Reply> {
    std::iter::from_fn(|| subscriber.reply(now)).collect()
}

#[test]
fn acknowledgements_leave_in_order_once_durable_and_never_on_another_connection() {
    let (mut subscriber, now) = session(Qos::AtLeastOnce);
    for packet_id in [5, 3] {
        let publish = publish(Qos::AtLeastOnce, packet_id, format!("{packet_id}"));
        assert!(matches!(subscriber.take(Incoming::Publish(publish), now), Ok(Taken::Message { .. })));
    }
    let foreign = Publish { topic: Bytes::from_static(b"u"), ..publish(Qos::AtLeastOnce, 9, "x") };
    let dropped = subscriber.take(Incoming::Publish(foreign.clone()), now);
    assert_eq!(dropped, Ok(Taken::Dropped(Dropped::Foreign(foreign))));
    assert_eq!(replies(&mut subscriber, now), []);
    subscriber.set_durable(1);
    assert_eq!(replies(&mut subscriber, now), [Reply::PubAck(5)]);
    connected(&mut subscriber, true, now);
    subscriber.set_durable(2);
    assert_eq!(replies(&mut subscriber, now), []);
    // Sent again, it is known, and acknowledged here.
    let again = Publish { is_duplicate: true, ..publish(Qos::AtLeastOnce, 3, "3") };
    assert_eq!(subscriber.take(Incoming::Publish(again), now), Ok(Taken::Dropped(Dropped::Duplicate)));
    assert_eq!(replies(&mut subscriber, now), [Reply::PubAck(3)]);
    // The same identifier with something else in it is something else.
    let other = Publish { is_duplicate: true, ..publish(Qos::AtLeastOnce, 3, "4") };
    assert!(matches!(subscriber.take(Incoming::Publish(other), now), Ok(Taken::Message { .. })));
}

#[test]
fn a_released_message_that_is_published_again_is_a_duplicate() {
    let (mut subscriber, now) = session(Qos::ExactlyOnce);
    let first = publish(Qos::ExactlyOnce, 1, "x");
    subscriber.take(Incoming::Publish(first.clone()), now).unwrap();
    subscriber.take(Incoming::PubRel(1), now).unwrap();
    connected(&mut subscriber, true, now);
    let again = Publish { is_duplicate: true, ..first.clone() };
    let taken = subscriber.take(Incoming::Publish(again), now);
    assert!(matches!(taken, Ok(Taken::Dropped(Dropped::Duplicate))), "{taken:?}");
    // Without DUP it is another one, which reuses the identifier.
    let taken = subscriber.take(Incoming::Publish(first), now);
    assert!(matches!(taken, Ok(Taken::Message { .. })), "{taken:?}");
}

#[test]
fn what_a_broker_forgot_is_said_and_its_identifiers_mean_nothing_any_more() {
    let (mut subscriber, now) = session(Qos::ExactlyOnce);
    subscriber.take(Incoming::Publish(publish(Qos::ExactlyOnce, 1, "x")), now).unwrap();
    assert_eq!(connected(&mut subscriber, false, now), SessionFound::Forgotten { unacknowledged: 1 });
    assert_eq!(subscriber.forget(), Some(Event::NewSession));
    let taken = subscriber.take(Incoming::Publish(publish(Qos::ExactlyOnce, 1, "x")), now);
    assert!(matches!(taken, Ok(Taken::Message { .. })), "{taken:?}");
}

#[test]
fn a_broker_that_does_not_answer_is_left() {
    let (mut subscriber, _) = session(Qos::AtLeastOnce);
    for _ in 0..3 {
        let now = subscriber.deadline();
        assert_eq!(subscriber.tick(now), Ok(()));
        assert_eq!(replies(&mut subscriber, now), [Reply::PingReq]);
        subscriber.take(Incoming::PingResp, now).unwrap();
    }
    let now = subscriber.deadline();
    subscriber.tick(now).unwrap();
    subscriber.reply(now);
    subscriber.was_not_listening(now + ANSWER_TIMEOUT);
    assert_eq!(subscriber.tick(now + ANSWER_TIMEOUT), Ok(()));
    assert_eq!(subscriber.tick(subscriber.deadline()), Err(SessionError::Wedged));
    subscriber.connect(None, now);
    assert_eq!(subscriber.tick(now + ANSWER_TIMEOUT), Err(SessionError::Wedged));
}

#[test]
fn a_ping_tells_which_acknowledgements_the_broker_has() {
    let (mut subscriber, now) = session(Qos::AtLeastOnce);
    for packet_id in 1..=3 {
        let publish = publish(Qos::AtLeastOnce, packet_id, "x");
        subscriber.take(Incoming::Publish(publish), now).unwrap();
    }
    subscriber.set_durable(2);
    assert_eq!(replies(&mut subscriber, now).len(), 2);
    let later = now + CONFIRM_AFTER;
    subscriber.tick(later).unwrap();
    assert_eq!(replies(&mut subscriber, later), [Reply::PingReq]);
    assert_eq!(subscriber.settled(), None);
    subscriber.take(Incoming::PingResp, later).unwrap();
    assert_eq!((subscriber.settled(), subscriber.settled()), (Some(Event::Settled(2)), None));
}

#[test]
fn refusals_end_the_connection_with_their_reason() {
    let now = Instant::now();
    let mut subscriber = Subscriber::new(subscription(MqttVersion::V5, Qos::AtLeastOnce), None, now);
    let refusal =
        Refusal { kind: super::super::packet::RefusalKind::NotAuthorized, reason: "not authorized" };
    subscriber.connect(None, now);
    let refused = subscriber.take(Incoming::ConnAck(Err(refusal)), now);
    assert_eq!(refused, Err(SessionError::Refused(refusal)));
    subscriber.connect(None, now);
    subscriber.take(accept(false), now).unwrap();
    assert_eq!(subscriber.reply(now), Some(Reply::Subscribe(SUBSCRIBE_ID)));
    let refused = subscriber.take(Incoming::SubAck(SUBSCRIBE_ID, vec![Err(refusal)]), now);
    assert_eq!(refused, Err(SessionError::NoFilter(refusal)));
}

#[test]
fn with_3_1_1_a_resumed_session_is_not_subscribed_again() {
    let now = Instant::now();
    let mut subscriber = Subscriber::new(subscription(MqttVersion::V311, Qos::AtLeastOnce), None, now);
    connected(&mut subscriber, true, now);
    subscriber.connect(None, now);
    subscriber.take(accept(true), now).unwrap();
    assert_eq!(subscriber.reply(now), None);
    subscriber.connect(None, now);
    subscriber.take(accept(false), now).unwrap();
    assert_eq!(subscriber.reply(now), Some(Reply::Subscribe(SUBSCRIBE_ID)));
}

/// A broker that keeps its session, as the standard wants it.
struct Broker {
    qos: Qos,
    window: usize,
    /// Payloads not sent yet, in order.
    queue: VecDeque<u64>,
    /// In the order sent: identifier, payload, and whether its PUBREC came.
    in_flight: Vec<(PacketId, u64, bool)>,
    next_id: PacketId,
    to_client: VecDeque<Incoming>,
    to_broker: VecDeque<Reply>,
}

impl Broker {
    fn packet(
        &self,
        (packet_id, payload, was_received): (PacketId, u64, bool),
        is_duplicate: bool,
    ) -> Incoming {
        if was_received {
            return Incoming::PubRel(packet_id);
        }
        Incoming::Publish(Publish { is_duplicate, ..publish(self.qos, packet_id, payload.to_string()) })
    }

    fn connect(&mut self) {
        self.to_broker.clear();
        self.to_client = self.in_flight.iter().map(|message| self.packet(*message, true)).collect();
    }

    fn send(&mut self, lowest: bool) {
        if self.in_flight.len() >= self.window {
            return;
        }
        let Some(payload) = self.queue.pop_front() else { return };
        let is_free = |id: &PacketId| self.in_flight.iter().all(|(used, ..)| used != id);
        let from = if lowest { 1 } else { self.next_id };
        let packet_id = (from..=20).chain(1..=20).find(is_free).expect("the window is smaller");
        self.next_id = packet_id % 20 + 1;
        self.in_flight.push((packet_id, payload, false));
        self.to_client.push_back(self.packet((packet_id, payload, false), false));
    }

    fn take(&mut self, reply: Reply, durable: &BTreeSet<u64>) {
        let place = |id| self.in_flight.iter().position(|(used, ..)| *used == id);
        match reply {
            Reply::PubAck(id) | Reply::PubRec(id) => {
                let at = place(id).expect("an acknowledgement is for something in flight");
                let message = &mut self.in_flight[at];
                assert!(durable.contains(&message.1), "acknowledged before it was durable");
                if matches!(reply, Reply::PubRec(_)) {
                    message.2 = true;
                    self.to_client.push_back(Incoming::PubRel(id));
                } else {
                    self.in_flight.remove(at);
                }
            }
            Reply::PubComp(id) => {
                let at = place(id).expect("a release is completed once");
                assert!(self.in_flight.remove(at).2, "completed before it was released");
            }
            Reply::PingReq => self.to_client.push_back(Incoming::PingResp),
            Reply::Subscribe(_) => unreachable!("subscribed when connected"),
        }
    }
}

/// What was noted, in order, with the payload of a message.
type Notes = Vec<(Event, Option<u64>)>;

/// Runs a session over random cuts and crashes; returns the payloads in the order they were taken in.
fn simulate(seed: u64, qos: Qos) -> Vec<u64> {
    const MESSAGES: u64 = 300;
    let mut random = Random(seed);
    let lowest = random.below(2) == 0;
    let mut broker = Broker {
        qos,
        window: 1 + usize::try_from(random.below(10)).unwrap(),
        queue: (0..MESSAGES).collect(),
        in_flight: Vec::new(),
        next_id: 1,
        to_client: VecDeque::new(),
        to_broker: VecDeque::new(),
    };
    let mut now = Instant::now();
    let new = |ids, now| Subscriber::new(subscription(MqttVersion::V311, qos), ids, now);
    let mut subscriber = new(None, now);
    connected(&mut subscriber, true, now);
    // Notes before this process began, and those of it that are durable.
    let (mut notes, mut before, mut durable): (Notes, usize, usize) = (Notes::new(), 0, 0);
    while !(broker.queue.is_empty() && broker.in_flight.is_empty()) {
        now += Duration::from_millis(random.below(300));
        match random.below(100) {
            0..30 => broker.send(lowest),
            30..60 => {
                if let Some(packet) = broker.to_client.pop_front() {
                    match subscriber.take(packet, now).unwrap() {
                        Taken::Message { publish, hash } => {
                            let payload = std::str::from_utf8(&publish.payload).unwrap().parse().unwrap();
                            let packet_id = publish.packet_id;
                            notes.push((Event::Received { qos, packet_id, hash }, Some(payload)));
                        }
                        Taken::Note(event) => notes.push((event, None)),
                        Taken::Nothing | Taken::Dropped(Dropped::Duplicate) => {}
                        other => panic!("seed {seed}: {other:?}"),
                    }
                    assert_eq!(subscriber.noted(), (notes.len() - before) as u64);
                }
            }
            60..70 => {
                notes.extend(subscriber.settled().map(|event| (event, None)));
                durable += usize::try_from(random.below((notes.len() - durable) as u64 + 1)).unwrap();
                subscriber.set_durable(durable.saturating_sub(before) as u64);
            }
            70..96 => {
                subscriber.tick(now).unwrap();
                broker.to_broker.extend(replies(&mut subscriber, now));
                let taken_in = notes[..durable].iter().filter_map(|(_, payload)| *payload).collect();
                for _ in 0..random.below(5) {
                    let Some(reply) = broker.to_broker.pop_front() else { break };
                    broker.take(reply, &taken_in);
                }
            }
            96..98 => {
                broker.connect();
                connected(&mut subscriber, true, now);
            }
            _ => {
                notes.truncate(durable);
                before = durable;
                let mut ids = ReceivedIds::default();
                notes.iter().for_each(|(event, _)| ids.apply(*event));
                subscriber = new(Some(ids), now);
                broker.connect();
                connected(&mut subscriber, true, now);
            }
        }
    }
    notes.into_iter().filter_map(|(_, payload)| payload).collect()
}

#[test]
fn every_message_is_taken_in_once_and_in_order_over_cuts_and_crashes() {
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        for seed in 0..300 {
            let taken = simulate(seed, qos);
            assert!(taken.iter().copied().eq(0..300), "seed {seed}, {qos:?}: {taken:?}");
        }
    }
}
