//! (tests) One unit under the watchdog, as tables.

use super::*;

const MIB: u64 = 1 << 20;

fn at(milliseconds: u64) -> Timestamp {
    Timestamp::from_start(Duration::from_millis(milliseconds))
}

fn exact(mebibytes: u64) -> Sample {
    Sample { bytes: mebibytes * MIB, kind: Kind::Proportional }
}

fn capped(mebibytes: u64) -> Watch {
    Watch::new(at(0), Bounds { max: Some(mebibytes * MIB), ..Bounds::default() })
}

fn high(mebibytes: u64) -> Watch {
    Watch::new(at(0), Bounds { high: Some(mebibytes * MIB), ..Bounds::default() })
}

/// Of one that stands still: MiB it has, of 512 that it may have, milliseconds to the next look.
#[test]
fn the_nearer_the_limit_the_sooner_the_next_look() {
    let rows = [(1, 2000), (112, 2000), (212, 1500), (412, 500), (502, 50), (512, 50), (600, 50)];
    for (used, expected) in rows {
        let mut watch = capped(512);
        watch.look(at(0), exact(used));
        watch.look(at(1000), exact(used));
        assert_eq!(watch.period().as_millis(), expected, "{used} MiB");
    }
}

/// MiB that it has grown by in a second, to 1,000 of 2,000.
#[test]
fn the_faster_it_grows_the_sooner_the_next_look() {
    for (grown, expected) in [(0, 2000), (100, 2000), (250, 2000), (500, 1000), (999, 500)] {
        let mut watch = capped(2000);
        watch.look(at(0), exact(1000 - grown));
        watch.look(at(1000), exact(1000));
        assert_eq!(watch.period().as_millis(), expected, "{grown} MiB/s");
    }
}

/// What was seen is forgotten by halves, and a look of another kind says nothing of growth.
#[test]
fn growth_is_that_of_looks_of_one_kind() {
    let mut watch = capped(2000);
    watch.look(at(0), exact(1));
    watch.look(at(1000), exact(1000));
    watch.look(at(2000), exact(1000));
    assert_eq!(watch.growth, 999 * MIB / 2);
    let mut watch = capped(2000);
    watch.look(at(0), exact(1));
    watch.look(at(1000), Sample { bytes: 1500 * MIB, kind: Kind::Anonymous });
    assert_eq!(watch.growth, 0);
}

/// A leak of any rate up to the one assumed is found before it is more than one shortest period
/// over the limit.
#[test]
fn a_leak_is_found_in_time() {
    for rate in [1, 20, 100, 150, 200, 400] {
        let mut watch = capped(160);
        let mut now = 0;
        loop {
            now += u64::try_from(watch.period().as_millis()).unwrap();
            let used = rate * now / 1000;
            if watch.look(at(now), exact(used)) == Verdict::OverMax {
                assert!(used <= 160 + rate / 20 + 1, "{rate} MiB/s: {used} MiB");
                break;
            }
            assert!(used <= 160, "{rate} MiB/s: {used} MiB and nothing was said");
        }
    }
}

#[test]
fn over_the_limit_is_told_once_and_again_if_it_grows_on() {
    let mut watch = capped(160);
    let rows = [
        (160, Verdict::Fine),
        (161, Verdict::OverMax),
        (165, Verdict::Fine), // it stops: its own time to do so
        (171, Verdict::Fine),
        (172, Verdict::OverMax), // it grows on
        (182, Verdict::Fine),
        (183, Verdict::OverMax),
        (10, Verdict::Fine),
    ];
    for (number, (used, expected)) in rows.into_iter().enumerate() {
        let verdict = watch.look(at(number as u64 * 50), exact(used));
        assert_eq!(verdict, expected, "{used} MiB");
    }
    assert_eq!(watch.peak, 183 * MIB);
}

/// A zombie has 0, and so has one that has just become another program.
#[test]
fn nothing_is_no_look() {
    let mut watch = high(100);
    watch.look(at(0), exact(101));
    assert_eq!(watch.look(at(1), exact(0)), Verdict::Fine);
    assert_eq!(watch.look(at(5000), exact(101)), Verdict::OverHigh);
    assert_eq!(watch.last(), Some(exact(101)));
}

/// "High" begins over 100 and ends below 93.75.
#[test]
fn high_for_long_has_hysteresis() {
    let fine = Verdict::Fine;
    let rows: [&[(u64, u64, Verdict)]; 5] = [
        &[(0, 101, fine), (4999, 101, fine), (5000, 101, Verdict::OverHigh)],
        &[(0, 100, fine), (9000, 100, fine)],
        &[(0, 101, fine), (3000, 95, fine), (5000, 101, Verdict::OverHigh)],
        &[(0, 101, fine), (3000, 93, fine), (5000, 101, fine), (10_000, 101, Verdict::OverHigh)],
        // Nobody did anything: told again, but not at once.
        &[
            (0, 101, fine),
            (5000, 101, Verdict::OverHigh),
            (9999, 101, fine),
            (10_000, 101, Verdict::OverHigh),
        ],
    ];
    for row in rows {
        let mut watch = high(100);
        for (time, used, expected) in row {
            assert_eq!(watch.look(at(*time), exact(*used)), *expected, "{time} ms of {row:?}");
        }
    }
}

/// Then the next look is when it has been long; before that there is no hurry.
#[test]
fn a_wait_for_long_is_one_wait() {
    let mut watch = high(100);
    watch.look(at(0), exact(99));
    assert_eq!(watch.period(), HIGH_FOR / 10);
    watch.look(at(1000), exact(101));
    assert_eq!(watch.period(), PERIOD_MAX);
    watch.look(at(5900), exact(101));
    assert_eq!(watch.period(), Duration::from_millis(100));
}

#[test]
fn instances_differ_in_where_high_begins() {
    let of = |number: u32| jitter(&format!("web@{number}.service"), 512 * MIB);
    let mut all: Vec<u64> = (1..=8).map(of).collect();
    assert_eq!(of(1), of(1));
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8);
    assert!(all.iter().all(|jitter| *jitter <= 32 * MIB), "{all:?}");
    let bounds = Bounds { max: None, high: Some(100), jitter: 20 };
    assert_eq!((bounds.threshold(), bounds.near()), (Some(80), 70));
}
