//! A job sees of each line the topic, QoS, retained flag, user properties and time of its message.

use tidegate::{Backend, Collected, Environment, Frame, MqttSource, Qos, Settings, StopHandle};

use crate::support::{Broker, wait_until};

fn describe(frame: &Frame<'_>) -> String {
    let properties: Vec<String> =
        frame.user_properties().map(|(name, value)| format!("{name}={value}")).collect();
    format!(
        "{} {}|{} {} {} [{}] {}",
        frame.text(),
        frame.topic().unwrap(),
        frame.topic_level(1).unwrap(),
        frame.qos().unwrap().level(),
        if frame.is_retained() { "retained" } else { "live" },
        properties.join(","),
        frame.user_property("unit").unwrap_or("-"),
    )
}

#[test]
fn topic_qos_retained_and_properties() {
    let Some(broker) = Broker::start() else { return };
    broker.publish_with(&["-t", "plant/old", "-q", "1", "-r", "-s"], "0");
    let directory = tempfile::tempdir().unwrap();
    let backend = Backend::File { directory: directory.path().to_owned() };
    let environment = Environment::with_settings("frames", Settings { backend, ..Settings::default() });
    let source = MqttSource::new(broker.url()).filter("plant/+").qos(Qos::ExactlyOnce);
    let (results, stop) = (Collected::new(), StopHandle::new());
    environment
        .mqtt_stream(source)
        .try_map_frames(|frame| {
            assert!(frame.received_at().is_some_and(|received| received.0 > 1_600_000_000_000));
            Ok(describe(frame))
        })
        .collect_into(&results);
    let (shown, stops) = (results.clone(), stop.clone());
    // A job runs on the thread that made it.
    let publishing = std::thread::spawn(move || {
        let has = |count: usize| {
            let shown = &shown;
            wait_until(|| shown.text().lines().count() >= count, || shown.text());
        };
        has(1);
        broker.publish_with(&["-t", "plant/a", "-q", "2", "-s"], "1\n2");
        has(3);
        let properties =
            ["-D", "publish", "user-property", "unit", "C", "-D", "publish", "user-property", "x", "y"];
        let publish = ["-V", "mqttv5", "-t", "plant/b", "-q", "0", "-m", "3"];
        broker.publish_with(&[&publish[..], &properties].concat(), "");
        has(4);
        stops.stop();
    });
    environment.execute_until(stop).unwrap();
    publishing.join().unwrap();
    let expected = "0 plant/old|old 1 retained [] -\n1 plant/a|a 2 live [] -\n2 plant/a|a 2 live [] -\n\
                    3 plant/b|b 0 live [unit=C,x=y] C\n";
    assert_eq!(results.text(), expected);
}
