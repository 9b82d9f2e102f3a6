//! Tests of timestamps; another library's calendar is the oracle.

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;

fn written(ms: i64) -> String {
    TimestampText::new().of(ms).to_owned()
}

#[test]
fn the_accepted_forms_name_the_same_instant() {
    for text in [
        "2026-11-22T10:00:00Z",
        "2026-11-22t10:00:00z",
        "2026-11-22 10:00:00",
        "2026-11-22 10:00",
        "2026-11-22T10:00Z",
        "2026-11-22T10:00:00.000",
        "2026-11-22T10:00:00,0Z",
        "2026-11-22T10:00:00.000999999999Z",
        "2026-11-22T12:00:00+02:00",
        "2026-11-22T12:00:00+0200",
        "2026-11-22T12:00:00+02",
        "2026-11-22 04:30:00-05:30",
        "2026-11-23T09:59:00+23:59",
        "2026-11-22T10:00:00-00:00",
    ] {
        assert_eq!(parse_timestamp(text), Ok(1_795_341_600_000), "{text}");
    }
    assert_eq!(parse_timestamp("2026-11-22"), Ok(1_795_305_600_000));
    assert_eq!(parse_timestamp("1970-01-01T00:00:00.5Z"), Ok(500));
    assert_eq!(parse_timestamp("1969-12-31T23:59:59.999Z"), Ok(-1));
    assert_eq!(parse_timestamp("2024-02-29"), Ok(1_709_164_800_000));
}

#[test]
fn the_bounds_are_exact() {
    assert_eq!(parse_timestamp("0000-01-01T00:00:00Z"), Ok(TIMESTAMP_MIN_MS));
    assert_eq!(parse_timestamp("9999-12-31T23:59:59.999Z"), Ok(TIMESTAMP_MAX_MS));
    assert_eq!(parse_timestamp("0000-01-01T00:00:00+00:01"), Err(TimestampError::OutOfRange));
    assert_eq!(parse_timestamp("9999-12-31T23:59:59.999-00:01"), Err(TimestampError::OutOfRange));
    assert_eq!(written(TIMESTAMP_MIN_MS), "0000-01-01T00:00:00.000Z");
    assert_eq!(written(TIMESTAMP_MAX_MS), "9999-12-31T23:59:59.999Z");
    assert_eq!(written(TIMESTAMP_MIN_MS - 1), "-0001-12-31T23:59:59.999Z");
    assert_eq!(written(TIMESTAMP_MAX_MS + 1), "+10000-01-01T00:00:00.000Z");
    assert_eq!(written(i64::MIN), "-292275055-05-16T16:47:04.192Z");
    assert_eq!(written(i64::MAX), "+292278994-08-17T07:12:55.807Z");
}

#[test]
fn what_is_no_timestamp_is_refused_with_its_place() {
    let malformed = |position| Err(TimestampError::Malformed { position });
    let no_such = |part, position| Err(TimestampError::NoSuch { part, position });
    for (text, error) in [
        ("", malformed(0)),
        ("2026", malformed(4)),
        ("2026-1-02", malformed(6)),
        ("20261122T100000Z", malformed(4)),
        ("2026-11-22x", malformed(10)),
        ("2026-11-22T", malformed(11)),
        ("2026-11-22  10:00", malformed(11)),
        ("2026-11-22T10", malformed(13)),
        ("2026-11-22T10:00:", malformed(17)),
        ("2026-11-22T10:00:00.", malformed(20)),
        ("2026-11-22T10:00:00.Z", malformed(20)),
        ("2026-11-22T10:00:00 Z", malformed(19)),
        ("2026-11-22T10:00:00ZZ", malformed(20)),
        ("2026-11-22T10:00:00+", malformed(20)),
        ("2026-11-22T10:00:00+02:", malformed(23)),
        ("2026-11-22Z", malformed(10)),
        ("-2026-11-22", malformed(0)),
        ("２026-11-22", malformed(0)),
        ("2026-00-01", no_such("month", 5)),
        ("2026-13-01", no_such("month", 5)),
        ("2026-02-29", no_such("day", 8)),
        ("1900-02-29", no_such("day", 8)),
        ("2026-04-31", no_such("day", 8)),
        ("2026-04-00", no_such("day", 8)),
        ("2026-11-22T24:00:00Z", no_such("hour", 11)),
        ("2026-11-22T10:60:00Z", no_such("minute", 14)),
        ("2016-12-31T23:59:60Z", no_such("second", 17)),
        ("2026-11-22T10:00:00+24:00", no_such("offset", 20)),
    ] {
        assert_eq!(parse_timestamp(text), error, "{text:?}");
    }
}

#[test]
fn every_day_of_a_calendar_cycle_is_there_and_back() {
    let first = days_from_civil(1600, 1, 1);
    let (mut year, mut month, mut day) = (1600, 1, 1);
    for days in first..first + ERA_DAYS {
        assert_eq!(civil_from_days(days), (year, month, day));
        assert_eq!(days_from_civil(year, month, day), days);
        day += 1;
        if day > days_of_month(year, month) {
            (month, day) = (month + 1, 1);
        }
        if month > 12 {
            (year, month) = (year + 1, 1);
        }
    }
    assert_eq!((year, month, day), (2000, 1, 1));
}

proptest! {
    #[test]
    fn instants_agree_with_the_oracle(ms in TIMESTAMP_MIN_MS..=TIMESTAMP_MAX_MS - DAY_MS * 2) {
        let oracle = Timestamp::from_millisecond(ms).unwrap();
        let text = written(ms);
        prop_assert_eq!(&text, &format!("{oracle:.3}"));
        prop_assert_eq!(parse_timestamp(&text), Ok(ms));
        prop_assert_eq!(text.len(), TEXT_BYTES);
    }

    #[test]
    fn texts_with_offsets_agree_with_the_oracle(
        ms in TIMESTAMP_MIN_MS + DAY_MS..=TIMESTAMP_MAX_MS - DAY_MS * 2,
        offset_minutes in -1_439i64..=1_439,
        nanos in 0u32..1_000_000,
    ) {
        let local = written(ms);
        let (hours, minutes) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
        let sign = if offset_minutes < 0 { '-' } else { '+' };
        let text = format!("{}{nanos:06}{sign}{hours:02}:{minutes:02}", &local[..23]);
        let oracle: Timestamp = text.parse().unwrap();
        let oracle_ms = i64::try_from(oracle.as_nanosecond().div_euclid(1_000_000)).unwrap();
        prop_assert_eq!(parse_timestamp(&text), Ok(oracle_ms), "{}", text);
    }

    #[test]
    fn any_instant_is_written(ms in any::<i64>()) {
        prop_assert!(written(ms).ends_with('Z'));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[-0-9TtZz:., +é]{0,30}") {
        if let Ok(ms) = parse_timestamp(&text) {
            prop_assert_eq!(parse_timestamp(&written(ms)), Ok(ms));
        }
    }
}
