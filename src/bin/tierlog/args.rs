//! The command line.

use std::path::PathBuf;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::time_text;

/// A durable append-only log: write it, read it, look into it.
#[derive(Debug, Parser)]
#[command(
    name = "tierlog",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Reads the command line. `--set` may stand on both sides of the command and each of them counts;
    /// of a global argument clap would forget those before the command.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let matches = with_set(Self::command()).try_get_matches()?;
        let mut args = Self::from_arg_matches(&matches)?;
        let mut at = &matches;
        while let Some((_, sub)) = at.subcommand() {
            let behind = sub.get_many::<(String, String)>(SET_BEHIND);
            args.global
                .set
                .extend(behind.into_iter().flatten().cloned());
            at = sub;
        }
        Ok(args)
    }
}

const SET_BEHIND: &str = "set_behind";

/// Gives every command below a `--set` of its own.
fn with_set(command: clap::Command) -> clap::Command {
    let behind = || {
        Arg::new(SET_BEHIND)
            .long("set")
            .value_name("KEY=VALUE")
            .action(ArgAction::Append)
            .value_parser(key_value)
            .help("Sets one setting; `tierlog config` lists them. May be given more than once")
    };
    command.mut_subcommands(|sub| with_set(sub.arg(behind())))
}

#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Directory that holds the log [default: ./tierlog-data; of `demo`, a temporary one]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Settings file in TOML; the environment (`TIERLOG_KEY`) and flags win over it
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Sets one setting; `tierlog config` lists them. May be given more than once
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) set: Vec<(String, String)>,
    /// Machine-readable output and errors
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put a file through a log, read it back, compare, and show the rates
    Demo {
        /// The file; a shipped one when there is none
        file: Option<PathBuf>,
        /// Tier 2, such as `s3://bucket/prefix` with nothing below it yet; what is put there stays [default:
        /// a folder next to the log]
        #[arg(long, value_name = "URI")]
        cold: Option<String>,
    },
    /// Append a record for each line of a file or of stdin
    Append(Append),
    /// Print the records of a stream
    Read(Read),
    /// List the streams and how far each has come
    Streams,
    /// List the segments of a stream and where each lives
    Segments {
        /// The stream's name
        #[arg(value_parser = stream_name)]
        stream: String,
    },
    /// Seal the open segment of a stream
    Seal {
        /// The stream's name
        #[arg(value_parser = stream_name)]
        stream: String,
    },
    /// Sync what a stream has taken
    Flush {
        /// The stream's name
        #[arg(value_parser = stream_name)]
        stream: String,
    },
    /// Give up the records before an offset and free their disk
    Trim {
        /// The stream's name
        #[arg(value_parser = stream_name)]
        stream: String,
        /// The first offset to keep
        #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
        before: u64,
    },
    /// Print how much a stream keeps, or set it
    Retain(Retain),
    /// Check every checksum and list all damage
    Verify {
        /// One stream only
        #[arg(value_parser = stream_name)]
        stream: Option<String>,
        /// Check the copies in Tier 2 as well
        #[arg(long)]
        cold: bool,
    },
    /// Make a log of what its Tier 2 holds, in a directory that is missing or empty
    Restore {
        /// Where Tier 2 is, such as `s3://bucket/prefix`; the setting `cold` when it is left out
        #[arg(long, value_name = "URI")]
        from: Option<String>,
    },
    /// Remove leftovers of unfinished work from Tier 2, and list what nothing explains
    Sweep {
        /// Remove nothing, and tell what would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Look into the manifest
    Manifest {
        #[command(subcommand)]
        command: Manifest,
    },
    /// Print the settings in effect
    Config,
    /// Measure a log beside a plain file, in a throwaway directory beside --data
    Bench(Bench),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    /// How long each measurement lasts; one that has written 1 GiB ends before
    #[arg(long, value_name = "N", default_value = "2", value_parser = seconds,
          allow_negative_numbers = true)]
    pub(crate) seconds: f64,
    /// Bytes of a record
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 100,
        allow_negative_numbers = true
    )]
    pub(crate) size: usize,
    /// Tasks that append at once, each waiting for its ack
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = tasks,
          allow_negative_numbers = true)]
    pub(crate) tasks: usize,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Manifest {
    /// Print its files, chunks and entries, and any damage
    Inspect,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Append {
    /// The stream; made when it is not there
    #[arg(value_parser = stream_name)]
    pub(crate) stream: String,
    /// Where the records come from; stdin when it is `-` or left out
    pub(crate) file: Option<PathBuf>,
    /// What ends a record
    #[arg(long, value_enum, default_value_t = Delimiter::Newline)]
    pub(crate) delimiter: Delimiter,
    /// How safe a record must be to count as appended
    #[arg(long, value_enum, default_value_t = AckLevel::Durable)]
    pub(crate) ack: AckLevel,
    /// Records that may be on their way at a time [default: 4096; with `--ack archived` 65536]
    #[arg(long, value_name = "N", value_parser = window, allow_negative_numbers = true)]
    pub(crate) window: Option<usize>,
    /// Print each record's offset on a line of its own as soon as it is acked
    #[arg(long)]
    pub(crate) print_acks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Delimiter {
    /// A newline; a CR before it is part of the record
    Newline,
    /// A zero byte
    Nul,
    /// Four bytes before each record give its length, little-endian
    Len32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AckLevel {
    /// Handed to the system: outlives the process, not the machine
    Written,
    /// Synced: outlives a power cut
    Durable,
    /// In Tier 2, and named by its catalog: outlives the machine
    Archived,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Retain {
    /// The stream's name
    #[arg(value_parser = stream_name)]
    pub(crate) stream: String,
    /// How old records get: a time like `7d`, `never` for no limit, or `default` for the setting
    #[arg(long, value_name = "TIME")]
    pub(crate) age: Option<tierlog::Keep<std::time::Duration>>,
    /// How many bytes of segment files: a size like `1GiB`, `unlimited`, or `default`
    #[arg(long, value_name = "SIZE")]
    pub(crate) bytes: Option<tierlog::Keep<tierlog::Size>>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Read {
    /// The stream's name
    #[arg(value_parser = stream_name)]
    pub(crate) stream: String,
    /// Where to begin: an offset, `earliest`, `latest`, or a moment like 2026-03-14T09:26:53Z
    #[arg(long, value_name = "WHERE", default_value = "earliest", value_parser = beginning,
          allow_negative_numbers = true)]
    pub(crate) from: tierlog::From,
    /// End after so many records
    #[arg(long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub(crate) count: Option<u64>,
    /// Wait for more at the end
    #[arg(long)]
    pub(crate) follow: bool,
    /// How to print a record [default: raw, or json with --json]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,
    /// Go on behind damage, and report the gaps at the end
    #[arg(long)]
    pub(crate) skip_damage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The payload and a newline
    Raw,
    /// One object a line
    Json,
    /// The payload behind its length in four bytes, little-endian
    Len32,
}

/// Refused here and not by the log, because the log would be made before it could refuse.
fn stream_name(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > 255 {
        return Err(format!(
            "a stream's name has 1 to 255 bytes and this one has {}",
            text.len()
        ));
    }
    if text.chars().any(char::is_control) {
        return Err("a stream's name has no control characters".into());
    }
    Ok(text.to_owned())
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected KEY=VALUE".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(n) if (0.01..=3600.0).contains(&n) => Ok(n),
        _ => Err("expected a number from 0.01 to 3600".into()),
    }
}

fn tasks(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err("expected a number from 1 to 1024".into()),
    }
}

fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "expected a whole number".into())
}

fn window(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000_000) => Ok(n),
        _ => Err("expected a number from 1 to 1000000".into()),
    }
}

fn beginning(text: &str) -> Result<tierlog::From, String> {
    match text {
        "earliest" => Ok(tierlog::From::Earliest),
        "latest" => Ok(tierlog::From::Latest),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => digits
            .parse()
            .map(|n| tierlog::From::Offset(tierlog::Offset(n)))
            .map_err(|_| format!("{digits} is beyond the last offset there can be")),
        moment => time_text::parse(moment)
            .map(tierlog::From::Timestamp)
            .map_err(|why| {
                format!(
                    "expected an offset, `earliest`, `latest`, or a moment with its zone, like \
                     2026-03-14T09:26:53Z ({why})"
                )
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        with_set(Args::command()).debug_assert();
    }

    #[test]
    fn a_beginning_of_digits_is_an_offset_and_anything_else_a_moment() {
        use tierlog::{From, Offset};
        assert!(matches!(beginning("0"), Ok(From::Offset(Offset(0)))));
        assert!(matches!(beginning("earliest"), Ok(From::Earliest)));
        assert!(matches!(beginning("latest"), Ok(From::Latest)));
        assert!(matches!(
            beginning("1970-01-01T00:00:01Z"),
            Ok(From::Timestamp(1_000_000_000))
        ));
        for text in ["", "-1", "18446744073709551616", "first", "2026"] {
            assert_eq!(beginning(text).is_ok(), text == "2026", "{text}");
        }
    }
}
