//! How fast a cost grows with the work: the exponent k of `cost ~ work^k`.

/// A cost at each size of the work.
pub type Points = [(f64, f64)];

/// How much more than the slope that a cost should have is still that slope: what is looked up in a tree
/// costs a step more at ten times the entries.
pub const LEEWAY: f64 = 0.15;

/// The exponent over all sizes: the line of least squares through the logarithms.
pub fn overall(points: &Points) -> f64 {
    let logs: Vec<_> = points.iter().map(|(x, y)| (x.ln(), log(*y))).collect();
    let count = logs.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| logs.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|log| log.0), mean(|log| log.1));
    let (mut up, mut down) = (0.0, 0.0);
    for log in &logs {
        up += (log.0 - x) * (log.1 - y);
        down += (log.0 - x).powi(2);
    }
    up / down
}

/// The exponent over the last step alone. A fixed cost hides the slope where the work is small.
pub fn last(points: &Points) -> f64 {
    overall(&points[points.len().saturating_sub(2)..])
}

/// Whether it grows faster than with this exponent.
pub fn is_over(points: &Points, expected: f64) -> bool {
    overall(points).max(last(points)) > expected + LEEWAY
}

/// Nothing at all counts as one: a cost of none has no logarithm.
fn log(cost: f64) -> f64 {
    cost.max(1.0).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cost: impl Fn(f64) -> f64) -> [(f64, f64); 3] {
        [10.0, 100.0, 1000.0].map(|work| (work, cost(work)))
    }

    #[test]
    fn a_power_has_its_exponent_as_slope() {
        for exponent in [0.0, 0.5, 1.0, 2.0] {
            let points = of(|work| 7.0 * work.powf(exponent));
            assert!((overall(&points) - exponent).abs() < 1e-9);
            assert!((last(&points) - exponent).abs() < 1e-9);
        }
    }

    #[test]
    fn a_square_behind_a_large_fixed_cost_is_seen_in_the_last_step() {
        let points = of(|work| 100_000.0 + work * work);
        assert!(overall(&points) < 0.6 && last(&points) > 0.9);
        assert!(is_over(&points, 0.0));
    }

    #[test]
    fn a_line_is_not_over_one_and_is_over_none() {
        let points = of(|work| 300.0 + 5.0 * work);
        assert!(!is_over(&points, 1.0));
        assert!(is_over(&points, 0.0));
    }

    #[test]
    fn a_logarithm_counts_as_flat() {
        assert!(!is_over(&of(|work| 1000.0 + 50.0 * work.log2()), 0.0));
    }

    #[test]
    fn what_costs_nothing_is_flat() {
        assert!(!is_over(&of(|_| 0.0), 0.0));
        assert!(!is_over(&of(|_| -4096.0), 0.0));
    }
}
