//! What must hold for every tail, checked against a model of the writer.

use proptest::prelude::*;

use super::{
    tests::{header, scan},
    *,
};
use crate::segment::{HEADER_LEN, HeaderState};

#[derive(Debug, Clone)]
struct ModelFrame {
    base: u64,
    end: u64,
    pos: u64,
    claim: u64,
    lost: bool,
}

#[derive(Debug, Clone)]
struct Model {
    segments: Vec<Vec<ModelFrame>>,
    /// A frame border: everything below is on the disk.
    durable: u64,
    end: u64,
}

/// A writer that filled up to four segments and synced up to some frame border.
fn writer() -> impl Strategy<Value = Model> {
    let frame = (1u64..4, 0u8..4, any::<bool>());
    let segments = prop::collection::vec(prop::collection::vec(frame, 0..6), 1..5);
    (segments, any::<prop::sample::Index>()).prop_map(|(plan, synced)| {
        let mut offset = 0;
        let mut claim = 0;
        let mut borders = vec![0];
        let mut segments: Vec<Vec<ModelFrame>> = Vec::new();
        for frames in plan {
            let mut pos = HEADER_LEN;
            let mut segment = Vec::new();
            for (count, advance, lost) in frames {
                // Now and then everything so far was synced before the next frame is written.
                if advance == 0 {
                    claim = offset;
                }
                segment.push(ModelFrame {
                    base: offset,
                    end: offset + count,
                    pos,
                    claim,
                    lost,
                });
                offset += count;
                pos += 64;
                borders.push(offset);
            }
            segments.push(segment);
        }
        let durable = borders[synced.index(borders.len())].max(claim);
        Model {
            segments,
            durable,
            end: offset,
        }
    })
}

/// What a scan sees of one segment.
fn scan_of(no: u64, frames: &[ModelFrame], header_lost: bool) -> SegmentScan {
    let mut runs: Vec<Run> = Vec::new();
    for f in frames.iter().filter(|f| !f.lost) {
        match runs.last_mut() {
            Some(run) if run.end_byte == f.pos => {
                run.end = Offset(f.end);
                run.end_byte += 64;
            }
            _ => runs.push(Run {
                base: Offset(f.base),
                end: Offset(f.end),
                start: f.pos,
                end_byte: f.pos + 64,
            }),
        }
    }
    let state = match frames.first() {
        None => HeaderState::Blank,
        Some(_) if header_lost => HeaderState::Damaged("test".into()),
        Some(first) => header(no, first.base),
    };
    let claims = frames.iter().filter(|f| !f.lost).map(|f| f.claim);
    let mut scan = scan(no, state, &runs);
    scan.max_claim = Offset(claims.max().unwrap_or(0));
    scan.nonzero_after = frames.last().is_some_and(|f| f.lost && f.base % 2 == 0);
    scan
}

fn scans_of(model: &Model, header_lost: impl Fn(&[ModelFrame]) -> bool) -> Vec<SegmentScan> {
    let numbered = (1u64..).zip(&model.segments);
    numbered
        .map(|(no, frames)| scan_of(no, frames, header_lost(frames)))
        .collect()
}

fn decide(scans: &[SegmentScan], claimed: u64) -> TailDecision {
    decide_tail(&TailInput {
        base: Some(Offset(0)),
        start: Offset(0),
        scans,
        finals: &[],
        claimed: Offset(claimed),
    })
}

/// Ranges follow one another from 0 to the end; each offset is in one run or in one damage.
fn check_accounts(decision: &TailDecision) -> Result<(), TestCaseError> {
    let mut at = Offset(0);
    for kept in &decision.keep {
        prop_assert_eq!(kept.base, at, "ranges follow one another: {:?}", decision);
        prop_assert!(kept.base < kept.end);
        at = kept.end;
        for run in &kept.runs {
            prop_assert!(kept.base <= run.base && run.end <= kept.end);
            prop_assert!(run.end_byte <= kept.end_byte);
        }
    }
    prop_assert_eq!(
        at,
        decision.end,
        "no offset without a segment: {:?}",
        decision
    );
    let mut runs: Vec<(Offset, Offset)> = Vec::new();
    runs.extend(
        decision
            .keep
            .iter()
            .flat_map(|k| &k.runs)
            .map(|r| (r.base, r.end)),
    );
    runs.extend(
        decision
            .damage
            .iter()
            .filter(|d| d.from < d.to)
            .map(|d| (d.from, d.to)),
    );
    runs.sort_unstable();
    let mut at = Offset(0);
    for (from, to) in runs {
        prop_assert_eq!(
            from,
            at,
            "each offset once, good or damaged: {:?}",
            decision
        );
        at = to;
    }
    prop_assert_eq!(at, decision.end);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A power cut takes any frames that were not synced, and header pages with their first frames.
    #[test]
    fn a_power_cut_is_never_called_damage_and_takes_nothing_durable(
        mut model in writer(),
        claimed in any::<prop::sample::Index>(),
    ) {
        for f in model.segments.iter_mut().flatten() {
            f.lost &= f.end > model.durable;
        }
        let scans = scans_of(&model, |frames| frames.first().is_some_and(|f| f.lost && f.base % 3 == 0));
        let claimed = claimed.index(model.durable as usize + 1) as u64;
        let decision = decide(&scans, claimed);
        prop_assert_eq!(&decision.damage, &[]);
        prop_assert!(decision.end.get() >= model.durable);
        prop_assert!(decision.end.get() <= model.end);
        check_accounts(&decision)?;
    }

    /// Whatever is destroyed: what was claimed is there or reported, and its offsets are not used again.
    #[test]
    fn what_was_claimed_is_there_or_reported(model in writer(), outside in any::<bool>(), odd in any::<bool>()) {
        let scans = scans_of(&model, |frames| odd && frames.first().is_some_and(|f| f.base % 2 == 1));
        let outside = if outside { model.durable } else { 0 };
        let decision = decide(&scans, outside);
        let claims = model.segments.iter().flatten().filter(|f| !f.lost).map(|f| f.claim);
        let claimed = claims.max().unwrap_or(0).max(outside);
        prop_assert!(decision.end.get() >= claimed);
        prop_assert_eq!(decision.claimed.get(), claimed);
        for damage in decision.damage.iter() {
            prop_assert!(damage.from.get() < claimed, "an unclaimed hole is a tear: {:?}", decision);
        }
        if let Some(cut) = decision.cut {
            prop_assert!(cut.from.get() >= claimed);
            prop_assert_eq!(cut.from, decision.end);
        }
        // Good frames before the last claim stay readable.
        for f in model.segments.iter().flatten().filter(|f| !f.lost && f.base < claimed) {
            let runs = decision.keep.iter().flat_map(|k| &k.runs);
            prop_assert!(runs.clone().any(|r| r.base.get() <= f.base && f.end <= r.end.get()), "{:?} of {:?}", f, decision);
        }
        check_accounts(&decision)?;
    }

    /// Scans of files that somebody made up.
    #[test]
    fn nothing_that_a_scan_can_say_makes_it_panic(
        runs in prop::collection::vec(prop::collection::vec((0u64..12, 0u64..5, 0u64..400), 0..4), 0..4),
        headers in prop::collection::vec((0u8..4, 0u64..12), 4),
        finals in prop::collection::vec((1u64..8, 0u64..12, 0u64..4), 0..3),
        base in prop::option::of(0u64..12),
        start in 0u64..12,
        claimed in prop_oneof![0u64..20, Just(u64::MAX)],
        trailing in any::<u8>(),
    ) {
        let scans: Vec<SegmentScan> = runs.iter().enumerate().map(|(i, runs)| {
            let no = 2 * i as u64;
            let state = match headers[i] {
                (0, _) => HeaderState::Missing,
                (1, _) => HeaderState::Blank,
                (2, _) => HeaderState::Damaged("made up".into()),
                (_, base) => header(no, base),
            };
            let runs: Vec<Run> = runs.iter().map(|&(base, len, start)| Run {
                base: Offset(base),
                end: Offset(base + len),
                start,
                end_byte: start + 8 * len,
            }).collect();
            let mut scan = scan(no, state, &runs);
            scan.nonzero_after = trailing >> i & 1 == 1;
            scan
        }).collect();
        let mut finals: Vec<FinalSpan> = finals.iter().map(|&(no, base, len)| FinalSpan {
            no: SegmentNo(no | 1),
            base: Offset(base),
            end: Offset(base + len),
        }).collect();
        finals.sort_by_key(|f| f.no);
        let input = TailInput {
            base: base.map(Offset),
            start: Offset(start),
            scans: &scans,
            finals: &finals,
            claimed: Offset(claimed),
        };
        let decision = decide_tail(&input);
        let mut all: Vec<SegmentNo> = decision.keep.iter().map(|k| k.no).chain(decision.blank.clone()).collect();
        all.sort_unstable();
        prop_assert_eq!(all, scans.iter().map(|s| s.no).collect::<Vec<_>>(), "each segment once");
        for kept in &decision.keep {
            prop_assert!(kept.base < kept.end);
            for pair in kept.runs.windows(2) {
                prop_assert!(pair[0].end <= pair[1].base);
            }
        }
        for pair in decision.keep.windows(2) {
            prop_assert!(pair[0].end <= pair[1].base);
        }
    }
}
