//! Whether a segment may be made: a pure decision.

/// What is known when a segment is asked for. Sizes are bytes.
#[derive(Debug, Clone, Copy)]
pub struct Demand {
    /// What hot segments hold.
    pub used: u64,
    /// What they may hold; `None` for as much as the disk has.
    pub limit: Option<u64>,
    /// What the new one would hold.
    pub want: u64,
    /// Whether the manifest writer would take a commit.
    pub manifest_has_room: bool,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Make it.
    Admit,
    /// The hot budget is used up: only trimming helps in this version.
    OverBudget,
    /// The manifest writer has no room for the commit.
    ManifestFull,
}

/// Decides. The budget comes first: a file made for a segment that is over it would have to be
/// taken back.
pub fn decide(demand: Demand) -> Verdict {
    if demand
        .limit
        .is_some_and(|limit| demand.used.saturating_add(demand.want) > limit)
    {
        return Verdict::OverBudget;
    }
    if !demand.manifest_has_room {
        return Verdict::ManifestFull;
    }
    Verdict::Admit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_met_exactly_and_never_passed() {
        let demand = |used, limit, room| {
            decide(Demand {
                used,
                limit,
                want: 10,
                manifest_has_room: room,
            })
        };
        assert_eq!(demand(90, Some(100), true), Verdict::Admit);
        assert_eq!(demand(91, Some(100), true), Verdict::OverBudget);
        assert_eq!(demand(u64::MAX, Some(100), true), Verdict::OverBudget);
        assert_eq!(demand(u64::MAX, None, true), Verdict::Admit);
        assert_eq!(demand(90, Some(100), false), Verdict::ManifestFull);
        assert_eq!(demand(91, Some(100), false), Verdict::OverBudget);
    }
}
