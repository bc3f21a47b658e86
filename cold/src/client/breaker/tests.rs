//! The breaker alone.

use proptest::prelude::*;

use super::*;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy() -> Policy {
    Policy {
        failures: 3,
        open_for: seconds(10),
        most_open: seconds(35),
        ..Policy::default()
    }
}

/// One call at a time that ends at once; false if it is refused.
fn call(breaker: &mut Breaker, now: u64, sign: Sign<'_>) -> bool {
    match breaker.admit(seconds(now)) {
        Ok(ticket) => {
            breaker.done(ticket, sign, seconds(now), 1.0, &policy());
            true
        }
        Err(_) => false,
    }
}

const ILL: Sign<'_> = Sign::Ill("no answer");

#[test]
fn failures_in_a_row_open_it_and_an_answered_probe_closes_it() {
    let mut breaker = Breaker::new();
    // When, what comes back, whether the call is made, the phase behind it.
    let story = [
        (0, ILL, true, Phase::Closed),
        (0, ILL, true, Phase::Closed),
        (1, Sign::Well, true, Phase::Closed),
        (1, ILL, true, Phase::Closed),
        (1, ILL, true, Phase::Closed),
        (2, Sign::Nothing, true, Phase::Closed),
        (2, ILL, true, Phase::Open),
        (2, Sign::Well, false, Phase::Open),
        (11, Sign::Well, false, Phase::Open),
        // The probe; it doubles the time.
        (12, ILL, true, Phase::Open),
        (31, Sign::Well, false, Phase::Open),
        (32, ILL, true, Phase::Open),
        (66, Sign::Well, false, Phase::Open),
        // 35 at most.
        (67, Sign::Well, true, Phase::Closed),
        (68, ILL, true, Phase::Closed),
        (68, ILL, true, Phase::Closed),
        (68, ILL, true, Phase::Open),
        // Anew from the shortest time.
        (78, Sign::Well, true, Phase::Closed),
    ];
    for (step, (now, sign, made, phase)) in story.into_iter().enumerate() {
        assert_eq!(call(&mut breaker, now, sign), made, "step {step}");
        assert_eq!(breaker.phase(seconds(now)), phase, "step {step}");
    }
}

fn opened() -> Breaker {
    let mut breaker = Breaker::new();
    for _ in 0..3 {
        call(&mut breaker, 0, ILL);
    }
    breaker
}

#[test]
fn one_probe_is_out_at_a_time_and_one_that_says_nothing_is_followed_by_another() {
    let mut breaker = opened();
    assert_eq!(breaker.admit(seconds(9)), Err(Look::Until(seconds(10))));
    assert_eq!(breaker.phase(seconds(10)), Phase::HalfOpen);
    assert_eq!(breaker.look(seconds(10)), Look::Free);
    let probe = breaker.admit(seconds(10)).unwrap();
    assert_eq!(breaker.admit(seconds(10)), Err(Look::Probing));
    assert!(breaker.done(probe, Sign::Nothing, seconds(11), 1.0, &policy()));
    assert!(breaker.admit(seconds(11)).is_ok());
    assert_eq!(breaker.admit(seconds(11)), Err(Look::Probing));
}

#[test]
fn what_began_before_it_opened_says_nothing_of_now() {
    let mut breaker = Breaker::new();
    let early = breaker.admit(seconds(0)).unwrap();
    for _ in 0..3 {
        call(&mut breaker, 0, ILL);
    }
    assert!(!breaker.done(early, Sign::Well, seconds(1), 1.0, &policy()));
    assert_eq!(breaker.phase(seconds(1)), Phase::Open);
    // Nor does it count as the probe.
    let _probe = breaker.admit(seconds(10)).unwrap();
    assert!(!breaker.done(early, ILL, seconds(11), 1.0, &policy()));
    assert_eq!(breaker.look(seconds(11)), Look::Probing);
}

#[test]
fn it_says_since_when_and_why() {
    let mut breaker = opened();
    assert_eq!(breaker.last_error.as_deref(), Some("no answer"));
    call(&mut breaker, 10, Sign::Ill("refused"));
    assert_eq!(breaker.since, seconds(0), "a probe is no new beginning");
    assert_eq!(breaker.last_error.as_deref(), Some("refused"));
    call(&mut breaker, 40, Sign::Well);
    assert_eq!((breaker.since, &breaker.last_error), (seconds(40), &None));
}

proptest! {
    /// However calls overlap: at most one is out while it is not closed, somebody is let through
    /// sooner or later, and a store that answers closes it.
    #[test]
    fn it_never_stays_shut(events in prop::collection::vec((0_u8..4, 0_u64..20, 0_usize..4), 0..200)) {
        let policy = policy();
        let (mut breaker, mut now, mut out) = (Breaker::new(), 0, Vec::<Ticket>::new());
        for (event, wait, which) in events {
            now += wait;
            match event {
                0 | 1 => {
                    let was = breaker.phase(seconds(now));
                    if let Ok(ticket) = breaker.admit(seconds(now)) {
                        out.push(ticket);
                        if was != Phase::Closed {
                            prop_assert!(breaker.admit(seconds(now)).is_err());
                        }
                    }
                }
                _ if out.is_empty() => {}
                _ => {
                    let ticket = out.swap_remove(which % out.len());
                    let sign = [Sign::Well, ILL, Sign::Nothing, ILL][which];
                    breaker.done(ticket, sign, seconds(now), 0.5, &policy);
                }
            }
        }
        for ticket in out {
            breaker.done(ticket, Sign::Nothing, seconds(now), 0.5, &policy);
        }
        now += 35;
        prop_assert!(call(&mut breaker, now, Sign::Well));
        prop_assert_eq!(breaker.phase(seconds(now)), Phase::Closed);
    }
}
