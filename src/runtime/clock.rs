//! The sequencer's clock: processing time that never goes back.
//!
//! A gateway without a battery-backed clock boots in 1970 and is set right later, perhaps while it runs. So wall time is
//! read together with monotonic time, and compared with it:
//!
//! | wall time | stamps | log |
//! |---|---|---|
//! | runs with monotonic time | follow it | |
//! | jumps forward | follow it at once: what is due by then is due | once, how far |
//! | jumps back | go on with monotonic time until wall time has caught up | once, how far |
//! | is behind the last stamp at the start | go on from that stamp in the same way | once, how far |
//!
//! While stamps are ahead of wall time they run slower than monotonic time by one part in [`CATCH_UP_PART`]: at the same
//! speed wall time would never catch up, and each small step back would add to the distance for ever. A step back of
//! 3 s is made good in 48 s; ten years stay until the wall clock is set forward again.
//!
//! A jump is what wall time has gained or lost against monotonic time since the last jump, when that is more than
//! [`JUMP_MIN`]. Adjustments by slewing move both clocks and do not count. Monotonic time stands still while the machine
//! is suspended, so waking up is a jump forward. A jump is noticed when the next batch is stamped.
//!
//! `SystemClocks` is the only reader of the wall clock; `Clock` is given what it read.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::batch::Timestamp;

/// Differences up to this are not jumps: more than a leap second.
const JUMP_MIN: Duration = Duration::from_secs(2);
/// Stamps ahead of wall time run slower than monotonic time by one part in this many.
const CATCH_UP_PART: u32 = 16;
/// Longest time between the two readings of a moment; a reader that was held up reads again.
const READ_TIME_MAX: Duration = Duration::from_millis(20);
/// Attempts at that.
const READS_MAX: usize = 4;

/// What both clocks said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) wall: Timestamp,
    /// Since a beginning that a job's moments share; never less than before.
    pub(crate) monotonic: Duration,
}

/// How far wall time is from where it was expected, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ClockJump {
    /// It jumped forward.
    Forward(u64),
    /// It jumped back.
    Back(u64),
    /// At the start it is this far behind the last stamp there is.
    BehindLastStamp(u64),
}

/// Processing time for batches.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Clock {
    last: Timestamp,
    /// Where stamps are counted from while they do without wall time: a stamp and its monotonic time.
    anchor: Option<(Timestamp, Duration)>,
    /// Wall time less monotonic time, in milliseconds, since the last jump.
    difference: Option<i64>,
    jump: Option<ClockJump>,
}

impl Clock {
    /// A clock that continues behind `last`.
    pub(crate) fn resume(last: Timestamp) -> Self {
        Self { last, ..Self::default() }
    }

    /// The time of the last stamp.
    pub(crate) fn now(&self) -> Timestamp {
        self.last
    }

    /// The time to stamp a batch with.
    pub(crate) fn stamp(&mut self, moment: Moment) -> Timestamp {
        self.look_for_jump(moment);
        let without_wall = self.without_wall(moment.monotonic);
        if moment.wall >= without_wall {
            self.anchor = Some((moment.wall, moment.monotonic));
        }
        self.last = without_wall.max(moment.wall);
        self.last
    }

    /// The time to stamp a recorded batch with: its own, unless that is before the last one's.
    pub(crate) fn stamp_recorded(&mut self, recorded: Timestamp) -> Timestamp {
        self.last = self.last.max(recorded);
        self.last
    }

    /// The jump that was noticed, once.
    pub(crate) fn take_jump(&mut self) -> Option<ClockJump> {
        self.jump.take()
    }

    /// The time monotonic time alone leads to, at least that of the last stamp.
    fn without_wall(&mut self, monotonic: Duration) -> Timestamp {
        if let Some((stamp, since)) = self.anchor {
            let elapsed = monotonic.saturating_sub(since);
            let time = stamp.0.saturating_add(milliseconds(elapsed - elapsed / CATCH_UP_PART));
            if time >= self.last.0 {
                return Timestamp(time);
            }
        }
        // The first stamp, or the first behind a recorded one.
        self.anchor = Some((self.last, monotonic));
        self.last
    }

    fn look_for_jump(&mut self, moment: Moment) {
        let difference = moment.wall.0.saturating_sub(milliseconds(moment.monotonic));
        // At the start the time since the last stamp is not known: only wall time behind it says something.
        let gained = match self.difference {
            Some(expected) => difference.saturating_sub(expected),
            None => moment.wall.0.saturating_sub(self.last.0).min(0),
        };
        let by = gained.unsigned_abs();
        let is_jump = u128::from(by) > JUMP_MIN.as_millis();
        if is_jump {
            self.jump = Some(match self.difference {
                None => ClockJump::BehindLastStamp(by),
                Some(_) if gained > 0 => ClockJump::Forward(by),
                Some(_) => ClockJump::Back(by),
            });
        }
        if is_jump || self.difference.is_none() {
            self.difference = Some(difference);
        }
    }
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SystemClocks {
    beginning: Instant,
}

impl SystemClocks {
    pub(crate) fn new() -> Self {
        Self { beginning: Instant::now() }
    }

    /// What they say now.
    pub(crate) fn read(&self) -> Moment {
        let mut before = Instant::now();
        let mut wall = wall_time();
        for _ in 1..READS_MAX {
            let after = Instant::now();
            if after - before <= READ_TIME_MAX {
                break;
            }
            (before, wall) = (after, wall_time());
        }
        Moment { wall, monotonic: before - self.beginning }
    }
}

/// The wall clock. A time before 1970 counts as 1970.
pub(crate) fn wall_time() -> Timestamp {
    Timestamp(milliseconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Random;

    /// 2026-01-01.
    const TODAY: i64 = 1_767_225_600_000;
    const SECOND: i64 = 1000;

    fn at(wall: i64, monotonic: i64) -> Moment {
        Moment { wall: Timestamp(wall), monotonic: Duration::from_millis(u64::try_from(monotonic).unwrap()) }
    }

    fn stamp(clock: &mut Clock, wall: i64, monotonic: i64) -> (i64, Option<ClockJump>) {
        (clock.stamp(at(wall, monotonic)).0, clock.take_jump())
    }

    #[test]
    fn a_boot_in_1970_follows_the_wall_clock_when_it_is_set() {
        let mut clock = Clock::resume(Timestamp(0));
        assert_eq!(stamp(&mut clock, 5 * SECOND, 0), (5 * SECOND, None));
        assert_eq!(stamp(&mut clock, 6 * SECOND, SECOND), (6 * SECOND, None));
        let by = u64::try_from(TODAY - 7 * SECOND).unwrap();
        assert_eq!(stamp(&mut clock, TODAY, 2 * SECOND), (TODAY, Some(ClockJump::Forward(by))));
        assert_eq!(stamp(&mut clock, TODAY + SECOND, 3 * SECOND), (TODAY + SECOND, None), "once");
    }

    #[test]
    fn after_a_jump_back_time_goes_on_and_wall_time_catches_up() {
        let mut clock = Clock::resume(Timestamp(0));
        stamp(&mut clock, TODAY, 0);
        let back = TODAY - 3 * SECOND;
        assert_eq!(stamp(&mut clock, back, 0), (TODAY, Some(ClockJump::Back(3000))));
        // Slower by one part in sixteen.
        assert_eq!(stamp(&mut clock, back + 16 * SECOND, 16 * SECOND), (TODAY + 15 * SECOND, None));
        assert_eq!(stamp(&mut clock, back + 48 * SECOND, 48 * SECOND), (back + 48 * SECOND, None));
        assert_eq!(stamp(&mut clock, back + 50 * SECOND, 50 * SECOND), (back + 50 * SECOND, None));
    }

    #[test]
    fn a_restart_goes_on_from_the_last_stamp() {
        let mut clock = Clock::resume(Timestamp(TODAY));
        let by = u64::try_from(TODAY - SECOND).unwrap();
        assert_eq!(stamp(&mut clock, SECOND, 500), (TODAY, Some(ClockJump::BehindLastStamp(by))));
        assert_eq!(stamp(&mut clock, 17 * SECOND, 16_500), (TODAY + 15 * SECOND, None));
        let mut clock = Clock::resume(Timestamp(TODAY));
        assert_eq!(stamp(&mut clock, 2 * TODAY, 0), (2 * TODAY, None), "a long time off is not a jump");
    }

    #[test]
    fn steps_below_the_limit_are_followed_and_count_when_they_add_up() {
        let mut clock = Clock::resume(Timestamp(0));
        stamp(&mut clock, TODAY, 0);
        assert_eq!(stamp(&mut clock, TODAY + 1500, 0), (TODAY + 1500, None));
        assert_eq!(stamp(&mut clock, TODAY + 2500, 0), (TODAY + 2500, Some(ClockJump::Forward(2500))));
        assert_eq!(stamp(&mut clock, TODAY + 4000, 0), (TODAY + 4000, None));
    }

    #[test]
    fn recorded_times_count_unless_they_go_back() {
        let mut clock = Clock::resume(Timestamp(100));
        assert_eq!(clock.stamp_recorded(Timestamp(50)), Timestamp(100));
        assert_eq!(clock.stamp_recorded(Timestamp(TODAY)), Timestamp(TODAY));
        assert_eq!(clock.stamp(at(SECOND, 0)), Timestamp(TODAY));
        assert_eq!(clock.stamp(at(SECOND, 16 * SECOND)), Timestamp(TODAY + 15 * SECOND));
    }

    #[test]
    fn never_goes_back_whatever_the_wall_clock_does() {
        let seed = std::env::var("TIDEGATE_TEST_SEED").map_or(1, |text| text.parse().unwrap());
        let mut random = Random(seed);
        let extremes = [0, SECOND, TODAY, TODAY * 2];
        let mut clock = Clock::resume(Timestamp(i64::try_from(random.below(10_000)).unwrap()));
        let (mut wall, mut monotonic, mut last) = (0_i64, 0, clock.now().0);
        for step in 0..20_000 {
            let elapsed = i64::try_from(random.below(5000)).unwrap();
            monotonic += elapsed;
            wall = match random.below(20) {
                0 => extremes[usize::try_from(random.below(4)).unwrap()],
                1 => wall.saturating_sub(i64::try_from(random.below(100_000)).unwrap()),
                _ => wall.saturating_add(elapsed),
            };
            let stamped = match random.below(50) {
                0 => clock.stamp_recorded(Timestamp(last.saturating_sub(SECOND))).0,
                _ => clock.stamp(at(wall, monotonic)).0,
            };
            assert!(stamped >= last, "TIDEGATE_TEST_SEED={seed}, step {step}: {stamped} after {last}");
            last = stamped;
        }
        assert_eq!(clock.stamp(at(i64::MAX, monotonic)), Timestamp(i64::MAX));
        assert_eq!(clock.stamp(at(0, monotonic + 1)), Timestamp(i64::MAX));
    }

    #[test]
    fn the_machines_clocks_move_forward() {
        let clocks = SystemClocks::new();
        let first = clocks.read();
        assert!(first.wall > Timestamp(0));
        assert!(clocks.read().monotonic >= first.monotonic);
    }
}
