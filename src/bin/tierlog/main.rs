//! The `tierlog` binary: operate a log from the shell.
//!
//! Data goes to stdout, everything else to stderr. One file a command; how each ends is in `exit`.

mod append;
mod args;
mod bench;
mod config;
mod demo;
mod exit;
mod input;
mod manifest;
mod output;
mod plain;
mod progress;
mod read;
mod recovery;
mod restore;
mod retain;
mod seal_flush_trim;
mod segments;
mod session;
mod signal;
mod streams;
mod sweep;
mod time_text;
mod verify;

use std::error::Error;
use std::ffi::OsStr;
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind as ClapKind};

use args::{Args, Command};
use exit::Ending;
use session::Session;

fn main() -> ExitCode {
    let args = match Args::read() {
        Ok(args) => args,
        Err(error) => return not_understood(&error),
    };
    let json = args.global.json;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(run(args));
            // A thread that still sits in a read of stdin must not hold us.
            runtime.shutdown_background();
            ended
        }
        Err(error) => {
            let what = format!("cannot start the threads that work needs: {error}");
            Err(Ending::failed(what, "allow the process more threads"))
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(ending) => ending.report(json),
    }
}

async fn run(args: Args) -> Result<(), Ending> {
    let Args { global, command } = args;
    let mut session = Session::new(&global, &command)?;
    match command {
        Command::Demo { file, cold: _ } => demo::run(session, file).await,
        Command::Append(args) => append::run(session, args).await,
        Command::Read(args) => read::run(session, args).await,
        Command::Streams => streams::run(session).await,
        Command::Segments { stream } => segments::run(session, &stream).await,
        Command::Seal { stream } => seal_flush_trim::seal(session, &stream).await,
        Command::Flush { stream } => seal_flush_trim::flush(session, &stream).await,
        Command::Trim { stream, before } => seal_flush_trim::trim(session, &stream, before).await,
        Command::Retain(args) => retain::run(session, args).await,
        Command::Verify { stream, cold } => verify::run(session, stream.as_deref(), cold).await,
        Command::Restore { from: _ } => restore::run(session).await,
        Command::Sweep { dry_run } => sweep::run(session, dry_run).await,
        Command::Manifest {
            command: args::Manifest::Inspect,
        } => manifest::inspect(session).await,
        Command::Config => config::run(&mut session),
        Command::Bench(args) => bench::run(session, args).await,
    }
}

/// What clap says in several lines, in one; help and version are no errors.
fn not_understood(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ClapKind::DisplayHelp | ClapKind::DisplayVersion
    ) {
        let mut out = match output::Output::stdout() {
            Ok(out) => out,
            Err(ending) => return ending.report(false),
        };
        let text = error.render().to_string();
        return match out.bytes(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(ending) => ending.report(false),
        };
    }
    let what = match error.kind() {
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand | ClapKind::MissingSubcommand => {
            "a command is missing".to_owned()
        }
        ClapKind::MissingRequiredArgument => {
            format!(
                "an argument is missing: {}",
                context(error, ContextKind::InvalidArg)
            )
        }
        // Put together here, because the value itself may hold newlines.
        ClapKind::ValueValidation => format!(
            "{} can't be '{}': {}",
            context(error, ContextKind::InvalidArg),
            context(error, ContextKind::InvalidValue),
            error.source().map(ToString::to_string).unwrap_or_default()
        ),
        _ => {
            let text = error.render().to_string();
            let first = text.split("\n\n").next().unwrap_or_default();
            let lines: Vec<&str> = first.lines().map(str::trim).collect();
            let line = lines.join(" ");
            line.strip_prefix("error: ").unwrap_or(&line).to_owned()
        }
    };
    let json = std::env::args_os().any(|arg| arg == OsStr::new("--json"));
    Ending::usage(what, "see `tierlog --help`").report(json)
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    error.get(kind).map(ToString::to_string).unwrap_or_default()
}
