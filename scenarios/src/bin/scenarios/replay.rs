//! `scenarios replay`, `shrink` and `explain`: what is done with a plan in a file.

use std::future::Future;

use sim_check::{Check, PlanFile, Verdict, check};
use sim_core::{Outcome, World};
use sim_net::StopAt;

use crate::check::{all_written, print_files, profile, to_json, write};
use crate::options::{How, Replay};
use crate::{Done, Trouble, find, output};

pub(crate) fn replay(options: &Replay) -> Done {
    let path = &options.file;
    let wrong = |error: String| Trouble::usage(format!("{}: {error}", path.display()));
    let file = PlanFile::read(path).map_err(wrong)?;
    let Some(name) = &file.plan().scenario else {
        return Err(wrong("it does not say what it is for: add a line `scenario NAME`".to_owned()));
    };
    let scenario = find(name)?;
    let mut check: Check = check(scenario.name()).leftovers(true).jobs(1).trace(options.trace);
    if let Some(mix) = scenario.fault_mix().filter(|_| !options.calm) {
        check = check.profile(profile(mix)?);
    }
    let run = |world| scenario.run(world);
    if let Some(at) = sim_check::stop_at().map_err(|error| Trouble::usage(error.to_string()))? {
        return stop(&check, &file, at, run, options);
    }
    let verdict = match options.how {
        How::AsIs | How::Explain => check.replay_file(&file, run),
        How::Shrink => check.shrink_file(&file, run),
    };
    let verdict = verdict.map_err(wrong)?;
    match options.how {
        How::AsIs => tell(&verdict, options),
        How::Shrink => hand_out(&verdict, options)?,
        How::Explain => explain(&verdict, options)?,
    }
    Ok(verdict.is_green())
}

/// Runs the plan until it comes to a place. It is no success: nothing was judged.
fn stop<F>(
    check: &Check,
    file: &PlanFile,
    at: StopAt,
    run: impl Fn(World) -> F + Sync,
    options: &Replay,
) -> Done
where
    F: Future + 'static,
    F::Output: Outcome + 'static,
{
    if options.how != How::AsIs || options.json {
        let told = format!("SIM_STOP_AT ({at}): it is for `replay`, without --json");
        return Err(Trouble::usage(told));
    }
    let wrong = |error| Trouble::usage(format!("{}: {error}", file.path().display()));
    let stopped = check.stopped(Some(file), at, run).map_err(wrong)?;
    if options.trace {
        output::to_stderr(format_args!("{}", stopped.log()));
    }
    say!("{stopped}");
    Ok(false)
}

fn tell(verdict: &Verdict, options: &Replay) {
    if options.json {
        say!("{}", to_json(verdict, Some(&options.file)));
    } else {
        say!("{verdict}");
    }
    if let Some(log) = verdict.replayed.as_ref().and_then(|it| it.log.as_ref()) {
        output::to_stderr(format_args!("{log}"));
    }
}

/// The small plan goes to its file, or to standard output: also if the file cannot be written.
fn hand_out(verdict: &Verdict, options: &Replay) -> Result<(), Trouble> {
    let Some(explanation) = &verdict.explanation else {
        let why = verdict.unexplained.as_deref().unwrap_or("nothing fails under it");
        return Err(Trouble::failed(format!("{}: {why}", options.file.display())));
    };
    let plan = &explanation.shrunk.plan;
    let written = options.out.as_deref().map(|path| {
        let written = sim_check::write_whole(path, |file| write!(file, "{plan}"));
        written.map(|()| path).map_err(|error| format!("{}: {error}", path.display()))
    });
    if options.json {
        say!(
            "{}",
            to_json(verdict, written.as_ref().and_then(|written| written.as_ref().ok().copied()))
        );
    } else {
        if !matches!(written, Some(Ok(_))) {
            say!("{}", plan.to_string().trim_end());
        }
        tell!("{}: {}", explanation.error, explanation.shrunk);
        for line in explanation.workload_lines() {
            tell!("{line}");
        }
    }
    all_written(written.and_then(Result::err).as_slice())
}

fn explain(verdict: &Verdict, options: &Replay) -> Result<(), Trouble> {
    tell(verdict, options);
    let Some(explanation) = &verdict.explanation else { return Ok(()) };
    let files = write(&verdict.name, explanation);
    if !options.json {
        if explanation.steps.iter().any(|step| step.necessary.is_some()) {
            say!("why");
            for (number, step) in (1..).zip(&explanation.steps) {
                let told = |value: Option<bool>, yes: &'static str, no: &'static str| {
                    value.map_or("?", |value| if value { yes } else { no })
                };
                let without = told(step.necessary, "passes", "fails");
                let alone = told(step.sufficient, "fails", "passes");
                say!("  {number}. without it: {without:<7} it alone: {alone:<7} {}", step.entry);
            }
        }
        print_files(&files);
    }
    all_written(files.err().as_slice())
}
