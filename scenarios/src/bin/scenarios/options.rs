//! What the command line says.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, value_parser};

/// The command.
#[derive(Debug)]
pub(crate) enum Command {
    List { json: bool },
    Run(Run),
    Check(Check),
    Replay(Replay),
    Zoo(Zoo),
    Serve(Serve),
}

/// Options of `run`.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) on: LoopKind,
    /// The seed; without one, the plan's or 0.
    pub(crate) seed: Option<u64>,
    pub(crate) json: bool,
    pub(crate) trace: bool,
    /// Where to write the packets.
    pub(crate) pcap: Option<PathBuf>,
    /// Where to write the run as a picture.
    pub(crate) timeline: Option<PathBuf>,
    /// What links do.
    pub(crate) links: Vec<String>,
    /// A file that says what befalls hosts and links, and when.
    pub(crate) plan: Option<PathBuf>,
    /// Where to write the plan that the run amounts to.
    pub(crate) record: Option<PathBuf>,
    /// The faults that `check` has for the seed.
    pub(crate) faults: bool,
}

impl Run {
    /// True if something is said of faults that only a simulated network has.
    pub(crate) fn names_faults(&self) -> bool {
        self.faults || self.plan.is_some() || self.record.is_some() || !self.links.is_empty()
    }
}

/// A kind of loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoopKind {
    Sim,
    Real,
}

impl LoopKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Real => "real",
        }
    }
}

/// Options of `check`.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) names: Vec<String>,
    pub(crate) seeds: u64,
    pub(crate) first_seed: u64,
    pub(crate) jobs: Option<usize>,
    pub(crate) json: bool,
    /// Without the scenario's own faults.
    pub(crate) calm: bool,
    /// After how long no further run is started.
    pub(crate) budget: Option<Duration>,
    /// Where plans of failures are kept.
    pub(crate) corpus: Option<PathBuf>,
    /// Where to write a report for other tools.
    pub(crate) junit: Option<PathBuf>,
    /// Whether to end with the first failure.
    pub(crate) first: bool,
    /// Whether to leave single faults out.
    pub(crate) no_singles: bool,
}

/// Options of `replay`, `shrink` and `explain`.
#[derive(Debug)]
pub(crate) struct Replay {
    pub(crate) how: How,
    pub(crate) file: PathBuf,
    /// Where to write the small plan.
    pub(crate) out: Option<PathBuf>,
    pub(crate) trace: bool,
    /// Without the scenario's own links.
    pub(crate) calm: bool,
    pub(crate) json: bool,
}

/// What is done with a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    AsIs,
    Shrink,
    Explain,
}

/// Options of `zoo`.
#[derive(Debug)]
pub(crate) struct Zoo {
    /// The specimens that are wanted; all if there are none.
    pub(crate) only: Vec<String>,
    /// How often each is searched for, from other seeds on.
    pub(crate) searches: u64,
    pub(crate) seeds: u64,
    /// How long each search takes, at most.
    pub(crate) budget: Duration,
    pub(crate) plans: bool,
    pub(crate) json: bool,
}

/// Options of `serve`.
#[derive(Debug)]
pub(crate) struct Serve {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
    pub(crate) workers: usize,
}

/// Reads the command line.
pub(crate) fn parse(args: impl Iterator<Item = OsString>) -> Result<Command, clap::Error> {
    let matches = command_line().try_get_matches_from(args)?;
    let (name, options) = matches.subcommand().expect("a subcommand is required");
    Ok(match name {
        "list" => Command::List { json: options.get_flag("json") },
        "run" => Command::Run(run(options)),
        "check" => Command::Check(check(options)),
        "zoo" => Command::Zoo(zoo(options)),
        "replay" => Command::Replay(replay(How::AsIs, options)),
        "shrink" => Command::Replay(replay(How::Shrink, options)),
        "explain" => Command::Replay(replay(How::Explain, options)),
        _ => Command::Serve(serve(options)),
    })
}

fn command_line() -> clap::Command {
    let json = || flag("json", "Prints JSON");
    let name = || Arg::new("name").value_name("NAME").required(true).help("The scenario");
    clap::Command::new("scenarios")
        .about("Runs protocols in a simulated world or on real sockets, unchanged")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(clap::Command::new("list").about("Lists the scenarios").arg(json()))
        .subcommand(
            clap::Command::new("run")
                .about("Runs a scenario once")
                .arg(name())
                .arg(
                    Arg::new("loop")
                        .long("loop")
                        .value_name("KIND")
                        .default_value("sim")
                        .value_parser(PossibleValuesParser::new(["sim", "real"]))
                        .help("In the simulator, or on real sockets over loopback"),
                )
                .arg(
                    Arg::new("seed")
                        .long("seed")
                        .value_name("N")
                        .value_parser(parse_seed)
                        .help("The simulation's seed, decimal or 0x.. [default: the plan's, or 0]"),
                )
                .arg(flag("trace", "Prints what happened, step by step, to standard error (sim)"))
                .arg(
                    Arg::new("pcap")
                        .long("pcap")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Writes the packets to a file for Wireshark, as pcapng (sim)"),
                )
                .arg(
                    Arg::new("timeline")
                        .long("timeline")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Writes the run as a picture, as a page for a browser (sim)"),
                )
                .arg(
                    Arg::new("link")
                        .long("link")
                        .value_name("SPEC")
                        .action(ArgAction::Append)
                        .help("What links do: 'latency=20ms..80ms,loss=5%,rate=10Mbit', or 'a->b: ..' for one (sim)"),
                )
                .arg(
                    Arg::new("plan")
                        .long("plan")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Nothing goes wrong but what this says: a line for each fault (sim)"),
                )
                .arg(
                    Arg::new("record")
                        .long("record")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Writes the plan that the run amounts to (sim)"),
                )
                .arg(flag("faults", "Under the faults that `check` has for the seed (sim)"))
                .arg(json()),
        )
        .subcommand(
            clap::Command::new("check")
                .about("Runs scenarios on many seeds, in parallel")
                .arg(name().value_name("NAME").num_args(1..).help("The scenarios"))
                .arg(
                    Arg::new("seeds")
                        .long("seeds")
                        .value_name("N")
                        .default_value("100")
                        .value_parser(value_parser!(u64).range(1..))
                        .help("How many seeds"),
                )
                .arg(
                    Arg::new("first-seed")
                        .long("first-seed")
                        .value_name("N")
                        .default_value("0")
                        .value_parser(parse_seed)
                        .help("The first of them, decimal or 0x.."),
                )
                .arg(count("jobs").help("How many threads [default: one per core]"))
                .arg(flag("calm", "Without the scenario's own faults"))
                .arg(
                    Arg::new("budget")
                        .long("budget")
                        .value_name("SECONDS")
                        .value_parser(value_parser!(u64).range(1..))
                        .help("Starts no further run after this time"),
                )
                .arg(
                    Arg::new("corpus")
                        .long("corpus")
                        .value_name("DIR")
                        .value_parser(value_parser!(PathBuf))
                        .help("Keeps plans of failures there, and runs those that are there first"),
                )
                .arg(
                    Arg::new("junit")
                        .long("junit")
                        .value_name("FILE")
                        .value_parser(value_parser!(PathBuf))
                        .help("Writes a report in JUnit's XML, too"),
                )
                .arg(flag("first", "Ends with the first run that fails"))
                .arg(flag("no-singles", "Seeds alone, without a sweep over single faults"))
                .arg(json()),
        )
        .subcommand(of_plan("replay", "Runs a plan and nothing else").arg(
            flag("trace", "Prints what happened, step by step, to standard error"),
        ))
        .subcommand(
            of_plan("shrink", "Makes a failing plan small").arg(
                Arg::new("out")
                    .long("out")
                    .value_name("FILE")
                    .value_parser(value_parser!(PathBuf))
                    .help("Where to write the small plan [default: standard output]"),
            ),
        )
        .subcommand(of_plan(
            "explain",
            "Says what each entry of a failing plan is for, and leaves its timeline and its packets in target/sim",
        ))
        .subcommand(
            clap::Command::new("zoo")
                .about("Searches for the bugs of the zoo, and makes them small")
                .arg(Arg::new("only").value_name("ID").num_args(0..).help("These alone"))
                .arg(
                    count("searches")
                        .default_value("1")
                        .help("How often each is searched for, from other seeds on: medians are told"),
                )
                .arg(
                    Arg::new("seeds")
                        .long("seeds")
                        .value_name("N")
                        .default_value("1000000")
                        .value_parser(value_parser!(u64).range(1..))
                        .help("How many seeds a search has, at most"),
                )
                .arg(
                    Arg::new("budget")
                        .long("budget")
                        .value_name("SECONDS")
                        .default_value("10")
                        .value_parser(value_parser!(u64).range(1..))
                        .help("How long it takes, at most"),
                )
                .arg(flag("plans", "Prints the small plans, too"))
                .arg(json()),
        )
        .subcommand(
            clap::Command::new("serve")
                .about("Deploys a scenario's server on the real loop, until SIGTERM or SIGINT")
                .arg(name())
                .arg(
                    Arg::new("listen")
                        .long("listen")
                        .value_name("ADDR")
                        .required(true)
                        .value_parser(value_parser!(SocketAddr))
                        .help("Where, as IP:PORT; port 0 takes a free one"),
                )
                .arg(count("workers").default_value("1").help("How many loops share the port")),
        )
}

/// A command about a plan in a file.
fn of_plan(name: &'static str, about: &'static str) -> clap::Command {
    clap::Command::new(name)
        .about(about)
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The plan; its line `scenario NAME` says what it is for"),
        )
        .arg(flag("calm", "Over links without the scenario's own delays, as `check --calm`"))
        .arg(flag("json", "Prints JSON"))
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn count(name: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u64).range(1..=1_024))
}

/// A seed: decimal, or hexadecimal with `0x`.
fn parse_seed(text: &str) -> Result<u64, String> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    // What a number may begin with, otherwise.
    let parsed = u64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'));
    parsed.ok_or_else(|| "a seed is a number of 64 bits, decimal or 0x..".to_owned())
}

fn run(options: &ArgMatches) -> Run {
    let real = options.get_one::<String>("loop").is_some_and(|kind| kind == "real");
    Run {
        name: required(options, "name"),
        on: if real { LoopKind::Real } else { LoopKind::Sim },
        seed: options.get_one("seed").copied(),
        json: options.get_flag("json"),
        trace: options.get_flag("trace"),
        pcap: options.get_one("pcap").cloned(),
        timeline: options.get_one("timeline").cloned(),
        links: options.get_many("link").unwrap_or_default().cloned().collect(),
        plan: options.get_one("plan").cloned(),
        record: options.get_one("record").cloned(),
        faults: options.get_flag("faults"),
    }
}

fn check(options: &ArgMatches) -> Check {
    Check {
        names: options.get_many("name").expect("it is required").cloned().collect(),
        seeds: required(options, "seeds"),
        first_seed: required(options, "first-seed"),
        jobs: options.get_one::<u64>("jobs").map(|&jobs| jobs as usize),
        json: options.get_flag("json"),
        calm: options.get_flag("calm"),
        budget: options.get_one::<u64>("budget").map(|&seconds| Duration::from_secs(seconds)),
        corpus: options.get_one("corpus").cloned(),
        junit: options.get_one("junit").cloned(),
        first: options.get_flag("first"),
        no_singles: options.get_flag("no-singles"),
    }
}

fn replay(how: How, options: &ArgMatches) -> Replay {
    Replay {
        how,
        file: required(options, "file"),
        out: if how == How::Shrink { options.get_one("out").cloned() } else { None },
        trace: how == How::AsIs && options.get_flag("trace"),
        calm: options.get_flag("calm"),
        json: options.get_flag("json"),
    }
}

fn zoo(options: &ArgMatches) -> Zoo {
    Zoo {
        only: options.get_many("only").unwrap_or_default().cloned().collect(),
        searches: required(options, "searches"),
        seeds: required(options, "seeds"),
        budget: Duration::from_secs(required(options, "budget")),
        plans: options.get_flag("plans"),
        json: options.get_flag("json"),
    }
}

fn serve(options: &ArgMatches) -> Serve {
    Serve {
        name: required(options, "name"),
        listen: required(options, "listen"),
        workers: required::<u64>(options, "workers") as usize,
    }
}

fn required<T: Clone + Send + Sync + 'static>(options: &ArgMatches, name: &str) -> T {
    options.get_one::<T>(name).expect("it is required or has a default").clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        parse(std::iter::once("scenarios").chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn the_command_line_is_consistent() {
        command_line().debug_assert();
    }

    #[test]
    fn several_names_and_options_are_read() {
        match parsed("check echo rpc --seeds 7 --jobs 2 --first-seed 0x10").unwrap() {
            Command::Check(check) => {
                assert_eq!(check.names, ["echo", "rpc"]);
                assert_eq!((check.seeds, check.first_seed, check.jobs), (7, 16, Some(2)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn wrong_calls_are_errors() {
        for line in [
            "",
            "dance",
            "run",
            "run echo --loop maybe",
            "run echo --seed seven",
            "run echo --seed +5",
            "run echo --seed 0x+5",
            "run echo --sede 7",
            "check",
            "check echo --seeds 0",
            "check echo --jobs 0",
            "serve echo",
            "serve echo --listen 7007",
        ] {
            assert!(parsed(line).is_err(), "{line:?}");
        }
    }
}
