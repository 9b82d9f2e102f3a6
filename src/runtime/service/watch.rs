//! The liveness watch: asks the actors, feeds the watchdog, and says how the job does. A shell around `liveness`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;

use super::liveness::{Excuses, Liveness, Question, Role, Stuck, Verdict};
use super::socket::NotifySocket;
use crate::metrics::JobMetrics;
use crate::runtime::job::CONTROL_MAILBOX;
use crate::runtime::messages::{AskCommit, AskJournal, JournalStanding, Ping};
use crate::runtime::subtask::Subtask;
use crate::runtime::supervisor::JobActors;
use crate::state::Waiting;

/// How often the service manager is told how many readings there were.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// Supervisor → liveness watch: what the job is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub(super) enum Activity {
    Restoring,
    Running,
    /// The stop is the service manager's to limit.
    Ending,
}

/// Supervisor → liveness watch: the subtasks, each with its place.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct WatchSubtasks {
    pub(super) subtasks: Vec<(String, Addr<Subtask>)>,
}

/// What the watch starts with.
pub(crate) struct WatchStart {
    pub(crate) socket: NotifySocket,
    pub(crate) actors: JobActors,
    pub(crate) metrics: Arc<JobMetrics>,
    pub(crate) batch_timeout: Option<Duration>,
    /// The threads that wait for room for state.
    pub(crate) stores: Arc<Waiting>,
    /// The sinks that wait for a reader.
    pub(crate) readers: Arc<Waiting>,
}

/// Watches over one job.
pub(crate) struct LivenessWatch {
    start: WatchStart,
    /// Where the service manager has a watchdog.
    liveness: Option<Liveness>,
    /// Those who are asked, by their number.
    witnesses: Vec<WitnessAddress>,
    activity: Activity,
    /// The job has run before.
    has_run: bool,
    journal: JournalStanding,
    stuck: Option<Stuck>,
    status: String,
    began: Instant,
}

/// Whom to ask, and what.
enum WitnessAddress {
    Pinged(Recipient<Ping>),
    Sequencer,
    Journal,
}

impl LivenessWatch {
    pub(crate) fn new(start: WatchStart) -> Self {
        let liveness = start.socket.watchdog().map(|watchdog| Liveness::new(watchdog, start.batch_timeout));
        let mut watch = Self {
            start,
            liveness,
            witnesses: Vec::new(),
            activity: Activity::Restoring,
            has_run: false,
            journal: JournalStanding::Works,
            stuck: None,
            status: String::new(),
            began: Instant::now(),
        };
        let JobActors { coordinator, sinks, journal, .. } = watch.start.actors.clone();
        watch.watch(Role::Steady, "the sequencer", WitnessAddress::Sequencer);
        watch.watch(
            Role::Steady,
            "the checkpoint coordinator",
            WitnessAddress::Pinged(coordinator.recipient()),
        );
        if journal.is_some() {
            watch.watch(Role::Steady, "the journal", WitnessAddress::Journal);
        }
        for (number, sink) in (1..).zip(sinks) {
            watch.watch(Role::Sink, &format!("sink {number}"), WitnessAddress::Pinged(sink.recipient()));
        }
        watch
    }

    fn watch(&mut self, role: Role, name: &str, address: WitnessAddress) {
        if let Some(liveness) = &mut self.liveness {
            let number = liveness.watch(role, name.to_owned());
            self.witnesses.truncate(number);
            self.witnesses.push(address);
        }
    }

    fn look(&mut self, context: &mut Context<Self>) {
        // Before the job runs, and while it ends, nobody heeds the watchdog.
        if !self.has_run || self.activity == Activity::Ending {
            return;
        }
        let (now, excuses) = (self.began.elapsed(), self.excuses());
        let Some(liveness) = &mut self.liveness else { return };
        let verdict = liveness.judge(now, excuses);
        let asked = liveness.ask(now);
        if verdict == Verdict::Feed && self.start.socket.feed() {
            liveness.fed(now);
        }
        self.say(match verdict {
            Verdict::Stuck(stuck) => Some(stuck),
            Verdict::Feed | Verdict::Lives => None,
        });
        for (number, question) in asked {
            self.ask(number, question, context);
        }
    }

    fn excuses(&self) -> Excuses {
        Excuses {
            restores: self.activity == Activity::Restoring,
            waits_for_store: self.start.stores.is_going_on(),
            waits_for_reader: self.start.readers.is_going_on(),
            waits_for_space: self.journal == JournalStanding::WaitsForSpace,
        }
    }

    /// Logs that the watchdog is, or is again, not fed.
    fn say(&mut self, stuck: Option<Stuck>) {
        match (&self.stuck, &stuck) {
            (None, Some(Stuck::Silent { name, since })) => {
                tracing::error!(who = name, ?since, "no answer: the service manager's watchdog is not fed");
                self.start.socket.status(&format!("stuck: no answer from {name}"));
            }
            (None, Some(Stuck::Commit { since })) => {
                tracing::error!(?since, "a commit does not end: the service manager's watchdog is not fed");
                self.start.socket.status("stuck: the journal does not commit");
            }
            (Some(_), None) => {
                tracing::warn!("everybody answers again: the service manager's watchdog is fed");
                self.status.clear();
            }
            (None, None) | (Some(_), Some(_)) => {}
        }
        self.stuck = stuck;
        if self.status.is_empty() {
            self.report();
        }
    }

    /// Asks one who has answered all before. An answer may never come.
    fn ask(&self, number: usize, question: Question, context: &mut Context<Self>) {
        let JobActors { sequencer, journal, .. } = &self.start.actors;
        match (self.witnesses.get(number), journal) {
            (Some(WitnessAddress::Pinged(recipient)), _) => {
                let asked = recipient.send(Ping);
                context.spawn(asked.into_actor(self).map(move |answer, actor, _| {
                    if answer.is_ok() {
                        actor.answered(question);
                    }
                }));
            }
            (Some(WitnessAddress::Sequencer), _) => {
                let asked = sequencer.send(AskCommit);
                context.spawn(asked.into_actor(self).map(move |answer, actor, _| {
                    if let (Ok(commit), Some(liveness)) = (answer, &mut actor.liveness) {
                        liveness.committing(commit, actor.began.elapsed());
                        actor.answered(question);
                    }
                }));
            }
            (Some(WitnessAddress::Journal), Some(journal)) => {
                let asked = journal.send(AskJournal);
                context.spawn(asked.into_actor(self).map(move |answer, actor, _| {
                    if let Ok(standing) = answer {
                        actor.journal = standing;
                        actor.answered(question);
                    }
                }));
            }
            (Some(WitnessAddress::Journal) | None, _) => {}
        }
    }

    fn answered(&mut self, question: Question) {
        if let Some(liveness) = &mut self.liveness {
            liveness.answered(question);
        }
    }

    /// Says how the job does, when that has changed.
    fn report(&mut self) {
        if self.activity != Activity::Running || self.stuck.is_some() {
            return;
        }
        let metrics = &self.start.metrics;
        let mut status = format!(
            "running, {} readings, {} results, {} checkpoints",
            JobMetrics::get(&metrics.readings),
            JobMetrics::get(&metrics.outputs),
            JobMetrics::get(&metrics.checkpoints_completed)
        );
        if self.journal == JournalStanding::WaitsForSpace {
            status.push_str("; the disk is full: nothing is taken in until there is space");
        }
        if status != self.status {
            self.start.socket.status(&status);
            self.status = status;
        }
    }
}

impl Actor for LivenessWatch {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(CONTROL_MAILBOX);
        context.run_interval(STATUS_INTERVAL, |actor, _| actor.report());
        if let Some(liveness) = &self.liveness {
            context.run_interval(liveness.interval(), Self::look);
        }
    }
}

impl Handler<Activity> for LivenessWatch {
    type Result = ();

    fn handle(&mut self, activity: Activity, context: &mut Self::Context) {
        if self.activity == Activity::Ending {
            return;
        }
        self.activity = activity;
        if activity == Activity::Running {
            self.status.clear();
            self.report();
            if !std::mem::replace(&mut self.has_run, true) {
                // The service manager counts from here on.
                self.look(context);
            }
        }
    }
}

impl Handler<WatchSubtasks> for LivenessWatch {
    type Result = ();

    fn handle(&mut self, message: WatchSubtasks, _: &mut Self::Context) {
        if let Some(liveness) = &mut self.liveness {
            liveness.forget_subtasks();
        }
        for (place, subtask) in message.subtasks {
            self.watch(Role::Subtask, &place, WitnessAddress::Pinged(subtask.recipient()));
        }
    }
}
