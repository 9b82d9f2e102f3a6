//! Liveness: whether the watchdog may be fed, given what was answered and what is waited for. Without actors and clocks: time is
//! what the caller says it is since a moment of its own.
//!
//! Each witness has one question open at most. One that never answers is a thread that stands still; how long that may be is
//! in the table of the module above.

use std::time::Duration;

/// How long state may be restored, or wait for room in its store, before its thread counts as stuck. A full disk under a
/// store is waited for ten minutes.
pub(crate) const RESTORE_MAX: Duration = Duration::from_secs(15 * 60);
/// Looks within half of the watchdog's time.
const LOOKS: u32 = 4;

/// What a witness is; its limit follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Never at anything long: the sequencer, the checkpoint coordinator, the journal.
    Steady,
    /// Writes results.
    Sink,
    /// Runs operators.
    Subtask,
}

/// Somebody who is asked.
#[derive(Debug)]
struct Witness {
    role: Role,
    name: String,
    /// The question that is open, and since when.
    open: Option<(Question, Duration)>,
}

/// Number of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question(u64);

/// What is waited for that is no fault of who waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Excuses {
    /// Subtasks are restored after a failure.
    pub(crate) restores: bool,
    /// State waits for room in its store.
    pub(crate) waits_for_store: bool,
    /// Standard output waits for its reader.
    pub(crate) waits_for_reader: bool,
    /// The journal waits for space.
    pub(crate) waits_for_space: bool,
}

/// Why the watchdog is not fed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// This one has not answered for so long.
    Silent { name: String, since: Duration },
    /// A commit has been under way for so long.
    Commit { since: Duration },
}

/// What to do after a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The job lives, and it is time to say so.
    Feed,
    /// The job lives; that was said not long ago.
    Lives,
    Stuck(Stuck),
}

/// Watches over a job on behalf of a watchdog.
#[derive(Debug)]
pub(crate) struct Liveness {
    /// Time between two feedings, and the limit of whoever has no other: half of the watchdog's time.
    half: Duration,
    batch_timeout: Option<Duration>,
    witnesses: Vec<Witness>,
    questions: u64,
    /// The commit under way, and since when it is known to be.
    commit: Option<(u64, Duration)>,
    /// What was excused at the last look.
    excuses: Excuses,
    fed: Option<Duration>,
}

impl Liveness {
    pub(crate) fn new(watchdog: Duration, batch_timeout: Option<Duration>) -> Self {
        let half = watchdog / 2;
        let excuses = Excuses::default();
        Self { half, batch_timeout, witnesses: Vec::new(), questions: 0, commit: None, excuses, fed: None }
    }

    /// How often to look.
    pub(crate) fn interval(&self) -> Duration {
        // A runtime does not tick every nanosecond.
        (self.half / LOOKS).max(Duration::from_millis(1))
    }

    /// From now on this one is asked too. Returns its number, which is that of those before it.
    pub(crate) fn watch(&mut self, role: Role, name: String) -> usize {
        self.witnesses.push(Witness { role, name, open: None });
        self.witnesses.len() - 1
    }

    /// From now on the subtasks, watched last, are not asked any more.
    pub(crate) fn forget_subtasks(&mut self) {
        self.witnesses.retain(|witness| witness.role != Role::Subtask);
    }

    /// Who is to be asked now, by number: everybody without an open question.
    pub(crate) fn ask(&mut self, now: Duration) -> Vec<(usize, Question)> {
        let mut asked = Vec::new();
        for (number, witness) in self.witnesses.iter_mut().enumerate() {
            if witness.open.is_none() {
                self.questions += 1;
                let question = Question(self.questions);
                witness.open = Some((question, now));
                asked.push((number, question));
            }
        }
        asked
    }

    /// A question was answered.
    pub(crate) fn answered(&mut self, question: Question) {
        let of_question = |witness: &&mut Witness| witness.open.is_some_and(|(open, _)| open == question);
        // Of nobody when it was to a subtask that was replaced.
        if let Some(witness) = self.witnesses.iter_mut().find(of_question) {
            witness.open = None;
        }
    }

    /// The number of the commit that is under way, if one is.
    pub(crate) fn committing(&mut self, commit: Option<u64>, now: Duration) {
        let known = self.commit;
        self.commit = commit.map(|commit| match known {
            Some((known, since)) if known == commit => (commit, since),
            _ => (commit, now),
        });
    }

    /// Looks at what is open. What an excuse has covered so far is forgiven when the excuse ends.
    pub(crate) fn judge(&mut self, now: Duration, excuses: Excuses) -> Verdict {
        self.forgive(now, excuses);
        let silent = self.witnesses.iter().find_map(|witness| {
            let (_, since) = witness.open?;
            let since = now.saturating_sub(since);
            let limit = self.limit(witness.role, excuses);
            (since > limit).then(|| Stuck::Silent { name: witness.name.clone(), since })
        });
        let commit = self.commit.map(|(_, since)| now.saturating_sub(since));
        let commit = commit.filter(|since| *since > self.commit_limit(excuses));
        if let Some(stuck) = silent.or(commit.map(|since| Stuck::Commit { since })) {
            return Verdict::Stuck(stuck);
        }
        // As much before as after its time, for looks are not exactly on time.
        let is_due = self.fed.is_none_or(|fed| now.saturating_sub(fed) + self.interval() / 2 >= self.half);
        if is_due { Verdict::Feed } else { Verdict::Lives }
    }

    /// The watchdog was fed.
    pub(crate) fn fed(&mut self, now: Duration) {
        self.fed = Some(now);
    }

    fn forgive(&mut self, now: Duration, excuses: Excuses) {
        let before = std::mem::replace(&mut self.excuses, excuses);
        let roles = [Role::Steady, Role::Sink, Role::Subtask];
        let shorter = roles.map(|role| self.limit(role, excuses) < self.limit(role, before));
        for witness in &mut self.witnesses {
            let is_shorter =
                roles.iter().zip(shorter).any(|(role, shorter)| *role == witness.role && shorter);
            if is_shorter && let Some((_, since)) = &mut witness.open {
                *since = now;
            }
        }
        if self.commit_limit(excuses) < self.commit_limit(before)
            && let Some((_, since)) = &mut self.commit
        {
            *since = now;
        }
    }

    fn commit_limit(&self, excuses: Excuses) -> Duration {
        if excuses.waits_for_space { Duration::MAX } else { self.half }
    }

    /// How long a witness may leave a question open.
    fn limit(&self, role: Role, excuses: Excuses) -> Duration {
        match role {
            Role::Steady => self.half,
            Role::Sink if excuses.waits_for_reader => Duration::MAX,
            Role::Sink => self.half,
            Role::Subtask => {
                let batch = self.batch_timeout.map_or(Duration::ZERO, |timeout| timeout.saturating_mul(2));
                let wait =
                    if excuses.restores || excuses.waits_for_store { RESTORE_MAX } else { Duration::ZERO };
                self.half.max(batch).max(wait)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_EXCUSE: Excuses =
        Excuses { restores: false, waits_for_store: false, waits_for_reader: false, waits_for_space: false };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A journal, a sink and a subtask under a watchdog of 80 s: fed each 40 s, looked at each 10 s.
    fn liveness(batch_timeout: Option<Duration>) -> Liveness {
        let mut liveness = Liveness::new(seconds(80), batch_timeout);
        liveness.watch(Role::Steady, "journal".to_owned());
        liveness.watch(Role::Sink, "sink".to_owned());
        liveness.watch(Role::Subtask, "average".to_owned());
        liveness
    }

    /// Looks from `from` on at each interval until `until`; all but `silent` answer before the next look. Returns when
    /// it was fed, and when it was first found stuck.
    fn look(
        liveness: &mut Liveness,
        (from, until): (u64, u64),
        silent: Option<usize>,
        excuses: Excuses,
    ) -> (Vec<u64>, Option<(u64, Stuck)>) {
        let (mut fed, mut stuck) = (Vec::new(), None);
        for now in (from..=until).step_by(10) {
            match liveness.judge(seconds(now), excuses) {
                Verdict::Feed => {
                    liveness.fed(seconds(now));
                    fed.push(now);
                }
                Verdict::Lives => {}
                Verdict::Stuck(found) => stuck = stuck.or(Some((now, found))),
            }
            for (number, question) in liveness.ask(seconds(now)) {
                if silent != Some(number) {
                    liveness.answered(question);
                }
            }
        }
        (fed, stuck)
    }

    #[test]
    fn it_is_fed_each_half_while_everybody_answers() {
        let mut liveness = liveness(None);
        assert_eq!(liveness.interval(), seconds(10));
        assert_eq!(look(&mut liveness, (0, 200), None, NO_EXCUSE), (vec![0, 40, 80, 120, 160, 200], None));
    }

    #[test]
    fn one_silent_witness_ends_the_feeding_and_its_answer_brings_it_back() {
        for silent in 0..3 {
            let mut liveness = liveness(None);
            let (fed, stuck) = look(&mut liveness, (0, 200), Some(silent), NO_EXCUSE);
            let name = ["journal", "sink", "average"][silent].to_owned();
            assert_eq!(fed, [0, 40], "fed as long as the question is not older than half");
            assert_eq!(stuck, Some((50, Stuck::Silent { name, since: seconds(50) })));
            let (_, question) = (silent, liveness.witnesses[silent].open.unwrap().0);
            liveness.answered(question);
            let (fed, stuck) = look(&mut liveness, (210, 250), None, NO_EXCUSE);
            assert_eq!((fed, stuck), (vec![210, 250], None), "at once");
        }
    }

    #[test]
    fn a_feeding_that_did_not_get_through_is_tried_at_the_next_look() {
        let mut liveness = liveness(None);
        assert_eq!(liveness.judge(seconds(0), NO_EXCUSE), Verdict::Feed);
        assert_eq!(liveness.judge(seconds(10), NO_EXCUSE), Verdict::Feed);
        liveness.fed(seconds(10));
        assert_eq!(liveness.judge(seconds(20), NO_EXCUSE), Verdict::Lives);
    }

    #[test]
    fn an_operator_has_the_time_of_the_supervisors_own_watchdog_and_once_more() {
        let mut liveness = liveness(Some(seconds(60)));
        let (fed, stuck) = look(&mut liveness, (0, 200), Some(2), NO_EXCUSE);
        assert_eq!(fed, [0, 40, 80, 120]);
        assert_eq!(stuck.unwrap().0, 130);
    }

    #[test]
    fn a_restore_and_a_full_store_have_longer() {
        for excuses in
            [Excuses { restores: true, ..NO_EXCUSE }, Excuses { waits_for_store: true, ..NO_EXCUSE }]
        {
            let mut liveness = liveness(Some(seconds(60)));
            let (_, stuck) = look(&mut liveness, (0, 900), Some(2), excuses);
            assert_eq!(stuck, None);
            let (_, stuck) = look(&mut liveness, (910, 910), Some(2), excuses);
            assert!(stuck.is_some(), "but not for ever");
            // What was excused is forgiven.
            let (fed, stuck) = look(&mut liveness, (920, 1040), Some(2), NO_EXCUSE);
            assert_eq!((fed, stuck), (vec![920, 960, 1000, 1040], None));
            assert!(look(&mut liveness, (1050, 1050), Some(2), NO_EXCUSE).1.is_some());
        }
        let mut liveness = liveness(None);
        let excuses = Excuses { restores: true, ..NO_EXCUSE };
        assert!(look(&mut liveness, (0, 60), Some(0), excuses).1.is_some(), "nobody else has");
    }

    #[test]
    fn a_reader_may_take_nothing_for_ever() {
        let mut liveness = liveness(None);
        let excuses = Excuses { waits_for_reader: true, ..NO_EXCUSE };
        let (fed, stuck) = look(&mut liveness, (0, 100_000), Some(1), excuses);
        assert_eq!((fed.len(), stuck), (2501, None));
        let (_, stuck) = look(&mut liveness, (100_010, 100_060), Some(1), NO_EXCUSE);
        assert_eq!(stuck.unwrap().0, 100_060, "its time begins when nobody is waited for");
    }

    #[test]
    fn a_commit_that_does_not_end_ends_the_feeding_and_the_next_one_brings_it_back() {
        let mut liveness = liveness(None);
        for (now, commit, lives) in [
            (0, Some(1), true),
            (30, Some(2), true),
            (70, Some(2), true),
            (80, Some(2), false),
            (90, Some(3), true),
            (130, Some(3), true),
            (131, Some(3), false),
            (132, None, true),
            (1000, None, true),
        ] {
            liveness.committing(commit, seconds(now));
            let verdict = liveness.judge(seconds(now), NO_EXCUSE);
            assert_eq!(!matches!(verdict, Verdict::Stuck(_)), lives, "at {now}: {verdict:?}");
        }
    }

    #[test]
    fn a_journal_that_waits_for_space_is_waited_for() {
        let mut liveness = liveness(None);
        liveness.committing(Some(1), seconds(0));
        liveness.committing(Some(1), seconds(100_000));
        let excuses = Excuses { waits_for_space: true, ..NO_EXCUSE };
        assert_eq!(liveness.judge(seconds(100_000), excuses), Verdict::Feed);
        assert_eq!(liveness.judge(seconds(100_000), NO_EXCUSE), Verdict::Feed);
        let stuck = Stuck::Commit { since: seconds(50) };
        assert_eq!(liveness.judge(seconds(100_050), NO_EXCUSE), Verdict::Stuck(stuck));
    }

    #[test]
    fn subtasks_that_were_replaced_are_not_missed() {
        let mut liveness = liveness(None);
        look(&mut liveness, (0, 100), Some(2), NO_EXCUSE);
        let late = liveness.witnesses[2].open.unwrap().0;
        liveness.forget_subtasks();
        assert_eq!(liveness.watch(Role::Subtask, "average".to_owned()), 2);
        assert_eq!(look(&mut liveness, (110, 110), Some(2), NO_EXCUSE).0, [110]);
        liveness.answered(late);
        assert!(liveness.witnesses[2].open.is_some(), "an old answer is nobody's");
    }
}
