//! A service manager is told that the job runs when it does, not before its state is restored; that it stops; and why it
//! failed.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use tidegate::{
    Backend, Collected, Collector, Environment, KeyedContext, KeyedProcessFunction, OperatorError, Settings,
    StateError, StateRegistry, StopHandle, TcpConnect, ValueState, ValueStateDescriptor,
};

use crate::support::{Demo, Latch, LineServer, ServiceManager, join, send, start_job, wait_until};

/// Counts; opening it takes until the latch is open.
#[derive(Clone)]
struct SlowToOpen {
    latch: Latch,
    /// How often it is opened before, to see what it declares.
    looks: Arc<AtomicUsize>,
}

impl KeyedProcessFunction<i64, (i64, i64)> for SlowToOpen {
    type Out = (i64, i64);
    type State = ValueState<i64>;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Self::State, StateError> {
        if self.looks.fetch_update(SeqCst, SeqCst, |looks| looks.checked_sub(1)).is_err() {
            self.latch.hold();
        }
        states.value(&ValueStateDescriptor::new("count"))
    }

    fn process(
        &mut self,
        (key, _): (i64, i64),
        count: &mut Self::State,
        _context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        let seen = count.value().unwrap_or_default() + 1;
        count.update(seen);
        out.collect((key, seen));
        Ok(())
    }
}

#[test]
fn not_before_everything_is_restored() {
    let directory = tempfile::tempdir().unwrap();
    for life in 1..=2 {
        // Saved state is compared with what is declared.
        let looks = Arc::new(AtomicUsize::new(life - 1));
        let (manager, latch, stop) = (ServiceManager::start(None), Latch::default(), StopHandle::new());
        let (server, collected) = (LineServer::start(), Collected::new());
        let job = start_job({
            let (latch, stop, collected) = (latch.clone(), stop.clone(), collected.clone());
            let settings = Settings {
                backend: Backend::File { directory: directory.path().to_owned() },
                notify: Some(manager.socket()),
                ..Settings::default()
            };
            let address = server.address().to_string();
            move || {
                let environment = Environment::with_settings("slow", settings);
                environment
                    .connect(TcpConnect::new(address))
                    .parse::<(i64, i64)>()
                    .key_by(|(key, _)| *key)
                    .process(SlowToOpen { latch, looks })
                    .collect_into(&collected);
                environment.execute_until(stop)
            }
        });
        wait_until(|| latch.came() == 1, || "the operator is not opened".to_owned());
        let what =
            if life == 1 { "STATUS=starting with empty state" } else { "STATUS=restoring checkpoint " };
        manager.wait_for(what, None);
        assert!(!manager.told().iter().any(|message| message.contains("READY")), "{:?}", manager.told());
        assert!(!server.has_another_client(), "nothing is read before");
        latch.open();
        let ready = manager.wait_for("READY=1\nSTATUS=running", None);
        let mut connection = server.accept();
        send(&mut connection, "1 10\n");
        wait_until(|| collected.text() == format!("(1,{life})\n"), || "nothing comes".to_owned());
        stop.stop();
        join(job).expect("the job ends in order");
        let stopping = manager.wait_for("STOPPING=1\nSTATUS=stopping: a stop was asked for", Some(ready));
        let told = manager.told();
        assert_eq!(told.iter().filter(|message| message.contains("READY")).count(), 1, "{told:?}");
        assert!(!told.iter().any(|message| message.contains("WATCHDOG")), "there is no watchdog: {told:?}");
        assert!(stopping > ready);
    }
}

/// `tidegate run` of a job whose state is on the heap.
fn run(directory: &std::path::Path, address: &str) -> Demo {
    let job = format!(
        "[job]\nname = \"told\"\n[state]\nbackend = \"memory\"\n\
         [[source]]\nname = \"readings\"\ntype = \"tcp-listen\"\naddress = \"{address}\"\nformat = \"raw\"\n\
         [[query]]\nname = \"all\"\nsql = \"SELECT payload FROM readings\"\n\
         [[sink]]\nname = \"console\"\nfrom = \"all\"\ntype = \"print\"\nformat = \"text\"\n"
    );
    std::fs::write(directory.join("job.toml"), job).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("run").arg(directory.join("job.toml"));
    Demo::of(command)
}

#[test]
fn by_the_program_over_an_abstract_socket() {
    let directory = tempfile::tempdir().unwrap();
    let manager = ServiceManager::start_abstract(None);
    let running = run(directory.path(), "127.0.0.1:0").envs(manager.environment()).start();
    let read = manager.wait_for("STATUS=reading the saved state", None);
    let ready = manager.wait_for("READY=1", Some(read));
    running.listening_at();
    manager.wait_for("STATUS=running, 0 readings", Some(ready));
    running.stop().in_order();
    manager.wait_for("STOPPING=1", Some(ready));
}

#[test]
fn never_when_a_source_cannot_be_opened() {
    let (directory, holder) = (tempfile::tempdir().unwrap(), LineServer::start());
    let manager = ServiceManager::start(None);
    let ended = run(directory.path(), &holder.address().to_string()).envs(manager.environment()).run();
    assert_eq!(ended.code, Some(69), "the log:\n{}", ended.stderr);
    manager.wait_for("STATUS=failed: cannot open the source", None);
    assert!(!manager.told().iter().any(|message| message.contains("READY")), "{:?}", manager.told());
}
