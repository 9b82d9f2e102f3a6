//! A topic filter that the broker refuses is named with the broker's reason; what the others ask for comes. When it refuses all of
//! them the program tries again.

use std::path::{Path, PathBuf};

use crate::support::{Broker, Demo, skip};

/// Anybody may publish; only `good/#` may be subscribed to.
const RIGHTS: &str = r#"{
    "defaultACLAccess": {"publishClientSend": true, "publishClientReceive": true, "subscribe": false, "unsubscribe": true},
    "clients": [], "groups": [{"groupname": "all", "roles": [{"rolename": "good"}], "clients": []}],
    "roles": [{"rolename": "good", "acls": [{"acltype": "subscribePattern", "topic": "good/#", "priority": 0, "allow": true}]}],
    "anonymousGroup": "all"
}"#;

/// Mosquitto's plugin that judges subscriptions; its ACL files do not.
fn plugin() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    libraries.map(|entry| entry.path().join("mosquitto_dynamic_security.so")).find(|path| path.exists())
}

fn subscribing(broker: &Broker, version: &str, filters: &[&str]) -> Demo {
    let demo = Demo::new().journaled("always").args(["--mqtt", &broker.url(), "--mqtt-version", version]);
    filters.iter().fold(demo.arg("--verbose"), |demo, filter| demo.args(["--topic", filter]))
}

#[test]
fn and_the_others_are_served() {
    let Some(plugin) = plugin() else {
        return skip("a refused topic filter", "there is no mosquitto_dynamic_security.so");
    };
    let configuration = format!(
        "allow_anonymous true\nplugin {}\nplugin_opt_config_file DIR/rights.json\n",
        plugin.display()
    );
    let prepare = |directory: &Path| std::fs::write(directory.join("rights.json"), RIGHTS).unwrap();
    let Some(broker) = Broker::start_with(&configuration, prepare) else { return };
    for version in ["5", "3.1.1"] {
        let running = subscribing(&broker, version, &["secret/#", "good/#"]).start();
        let log = running.wait_for_log("the broker refuses a topic filter");
        assert!(log.contains("secret/#") && log.contains("refusal="), "{log}");
        broker.publish("secret/1", 1, "1 10\n1 10\n");
        broker.publish("good/1", 1, "2 10\n2 20\n");
        running.wait_for_outputs(1);
        let ended = running.stop().in_order();
        assert_eq!(ended.stdout, "(2,15)\n");

        let running = subscribing(&broker, version, &["secret/#"]).start();
        running.wait_for_logs("DEBUG trying again", 2);
        let ended = running.stop().in_order();
        let log = ended.log("no connection to the broker");
        assert!(log.contains("the broker refuses every topic filter: "), "{log}");
    }
}
