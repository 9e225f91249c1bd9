//! The `scenarios` command: lists scenarios, runs them on either loop, sweeps them over seeds, and
//! deploys their servers.
//!
//! It exits with 0 when all went well, 1 when something failed or could not be written, 2 when it was called
//! wrongly. A search that was interrupted and has found nothing to fail for dies of the signal, which shells tell as 130.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command talks to the machine; the library beside it may not"
)]
// What is said goes through `output`, which knows what to do when it cannot be written.
#![deny(clippy::print_stdout, clippy::print_stderr)]

#[macro_use]
mod output;

mod check;
mod interrupts;
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
/// A search was interrupted before its last run: what shells say of a command that `SIGINT` has ended.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let code = match options::parse(std::env::args_os()) {
        Ok(command) => match carry_out(&command) {
            Ok(true) => 0,
            Ok(false) => FAILED,
            Err(Trouble { message, code }) => {
                tell!("error: {message}");
                code
            }
        },
        Err(wrong) if wrong.use_stderr() => {
            output::to_stderr(format_args!("{}", wrong.render()));
            USAGE
        }
        // Help goes to standard output and is no error.
        Err(help) => {
            output::to_stdout(format_args!("{}", help.render()));
            0
        }
    };
    let written = output::finish();
    if written && code == INTERRUPTED {
        interrupts::die();
    }
    ExitCode::from(if written || code == USAGE { code } else { FAILED })
}

fn carry_out(command: &Command) -> Done {
    log::install().map_err(Trouble::usage)?;
    match command {
        Command::List { json } => list::list(*json),
        Command::Run(options) => run::run(options),
        Command::Check(options) => check::check(options),
        Command::Replay(options) => replay::replay(options),
        Command::Zoo(options) => zoo::zoo(options),
        Command::Serve(options) => serve::serve(options),
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

    fn interrupted(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: INTERRUPTED }
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
