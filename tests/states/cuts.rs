//! Which crash states there are at a moment, and their names.

use std::{fmt, str::FromStr};

use fastrand::Rng;
use tierlog::testing::storage::disk::sim::{Choices, Picks, SimDisk};

/// Where there are no more choices than this, all of them are tried; else so many are sampled.
pub const MOST: u64 = 256;

/// One way for the machine to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// The process dies, and nothing is lost.
    Killed,
    Lost,
    Kept,
    /// One of all choices, by number.
    Nth(u64),
    /// One group alone is kept.
    Only(usize),
    /// One group alone is lost.
    But(usize),
    Sample(u64),
    /// These things have these options, and the others are lost.
    Picks(Vec<(usize, u32)>),
}

/// All the ways that are tried.
pub fn all(choices: &Choices) -> Vec<Cut> {
    let mut cuts = vec![Cut::Killed];
    if choices.count() <= MOST {
        cuts.extend((0..choices.count()).map(Cut::Nth));
        return cuts;
    }
    cuts.extend([Cut::Lost, Cut::Kept]);
    cuts.extend((0..choices.groups()).flat_map(|group| [Cut::Only(group), Cut::But(group)]));
    cuts.extend((0..MOST).map(Cut::Sample));
    cuts
}

impl Cut {
    /// The choice that it stands for, at a moment with this number; none for a process that dies.
    pub fn picks(&self, choices: &Choices, moment: u64) -> Option<Picks> {
        Some(match self {
            Self::Killed => return None,
            Self::Lost => choices.lost(),
            Self::Kept => choices.kept(),
            Self::Nth(number) => choices.nth(*number),
            Self::Only(group) => {
                let mut picks = choices.lost();
                choices.keep(*group, &mut picks);
                picks
            }
            Self::But(group) => {
                let mut picks = choices.kept();
                choices.lose(*group, &mut picks);
                picks
            }
            Self::Sample(number) => choices.sample(&mut Rng::with_seed(
                moment.wrapping_mul(1_000_003) ^ number << 40,
            )),
            Self::Picks(some) => {
                let mut picks = choices.lost();
                for (thing, option) in some {
                    picks[*thing] = *option;
                }
                picks
            }
        })
    }

    /// The disk as it is found then.
    pub fn of(&self, disk: &SimDisk, choices: &Choices, moment: u64) -> SimDisk {
        match self.picks(choices, moment) {
            Some(picks) => choices.cut(&picks),
            None => disk.copy(),
        }
    }
}

/// The name of a choice: what is not lost.
pub fn named(picks: &Picks) -> Cut {
    let kept = picks.iter().copied().enumerate();
    Cut::Picks(kept.filter(|(_, option)| *option > 0).collect())
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Killed => f.write_str("killed"),
            Self::Lost => f.write_str("lost"),
            Self::Kept => f.write_str("kept"),
            Self::Nth(number) => write!(f, "nth-{number}"),
            Self::Only(group) => write!(f, "only-{group}"),
            Self::But(group) => write!(f, "but-{group}"),
            Self::Sample(number) => write!(f, "sample-{number}"),
            Self::Picks(some) => {
                let some = some
                    .iter()
                    .map(|(thing, option)| format!("{thing}={option}"));
                write!(f, "picks-{}", some.collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let strange = || format!("{text:?} is no way to stop");
        let (kind, rest) = text.split_once('-').unwrap_or((text, ""));
        let number = || rest.parse::<u64>().map_err(|_| strange());
        let group = || rest.parse::<usize>().map_err(|_| strange());
        let pick = |pick: &str| {
            let (thing, option) = pick.split_once('=')?;
            Some((thing.parse().ok()?, option.parse().ok()?))
        };
        Ok(match kind {
            "killed" => Self::Killed,
            "lost" => Self::Lost,
            "kept" => Self::Kept,
            "nth" => Self::Nth(number()?),
            "only" => Self::Only(group()?),
            "but" => Self::But(group()?),
            "sample" => Self::Sample(number()?),
            "picks" => {
                let picks = rest.split(',').filter(|text| !text.is_empty());
                let picks: Option<Vec<_>> = picks.map(pick).collect();
                Self::Picks(picks.ok_or_else(strange)?)
            }
            _ => return Err(strange()),
        })
    }
}

#[test]
fn each_way_to_stop_is_read_back_from_its_name() {
    let disk = SimDisk::new();
    for name in ["/a", "/b", "/c"] {
        use tierlog::testing::storage::disk::Disk;
        let file = disk.create_new(name.as_ref()).unwrap();
        file.write_at(&[7; 2000], 0).unwrap();
    }
    let choices = disk.choices();
    let cuts = all(&choices);
    assert!(cuts.len() > MOST as usize, "{}", cuts.len());
    for cut in cuts {
        assert_eq!(cut.to_string().parse(), Ok(cut.clone()));
        let Some(picks) = cut.picks(&choices, 3) else {
            continue;
        };
        let named: Cut = named(&picks).to_string().parse().unwrap();
        assert_eq!(named.picks(&choices, 3), Some(picks));
    }
    for strange in ["", "killed-", "nth-x", "picks-1", "all"] {
        let parsed: Result<Cut, _> = strange.parse();
        assert!(parsed.is_err() || strange == "killed-", "{strange}");
    }
}
