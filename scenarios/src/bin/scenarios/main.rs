//! The `scenarios` command: lists scenarios, runs them on either loop, sweeps them over seeds, and
//! deploys their servers.
//!
//! It exits with 0 when all went well, 1 when something failed, and 2 when it was called wrongly.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command talks to the machine; the library beside it may not"
)]

/// `println!` for a reader that may have gone away: `scenarios list | head -1` is no error.
macro_rules! say {
    ($($line:tt)*) => {
        drop(std::io::Write::write_fmt(
            &mut std::io::stdout().lock(),
            format_args!("{}\n", format_args!($($line)*)),
        ))
    };
}

mod check;
mod junit;
mod list;
mod log;
mod options;
mod replay;
mod run;
mod serve;
mod stores;
mod zoo;

use std::process::ExitCode;

use options::Command;

/// Something failed: a finding, or what the machine refused.
const FAILED: u8 = 1;
/// The command was called wrongly.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match options::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => {
            // Help goes to standard output and is no error.
            let code = if error.use_stderr() { USAGE } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    if let Err(error) = log::install() {
        eprintln!("error: {error}");
        return ExitCode::from(USAGE);
    }
    let done = match command {
        Command::List { json } => list::list(json),
        Command::Run(options) => run::run(&options),
        Command::Check(options) => check::check(&options),
        Command::Replay(options) => replay::replay(&options),
        Command::Zoo(options) => zoo::zoo(&options),
        Command::Serve(options) => serve::serve(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(Trouble { message, code }) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
struct Trouble {
    message: String,
    code: u8,
}

impl Trouble {
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: USAGE }
    }

    fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED }
    }
}

/// Whether what was run went well.
type Done = Result<bool, Trouble>;

/// Finds a scenario by name.
fn find(name: &str) -> Result<sim_core::Scenario, Trouble> {
    scenarios::find(name).ok_or_else(|| {
        let known: Vec<&str> = scenarios::all().iter().map(sim_core::Scenario::name).collect();
        let known = known.join(", ");
        Trouble::usage(format!("there is no scenario called {name:?}; there are {known}"))
    })
}
