//! The programs that tests start: the machine's own on the real loop, and stand-ins of them in the
//! simulator.

use std::time::Duration;

use sim_core::program::ProcessContext;
use sim_core::sync::Event;
use sim_core::{Signal, World};

/// Says something on both of its outputs, and exits with 3.
pub const TALK: &str = "echo out; echo err >&2; exit 3";
/// Says that it is ready, and does not end by itself.
pub const STAY: &str = "echo ready; exec sleep 600";
/// As [`STAY`], and does not mind being asked to end.
pub const STUBBORN: &str = "trap '' TERM; echo ready; exec sleep 600";
/// Ends in good order, with 7, when it is asked to.
pub const POLITE: &str = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
/// Closes its input, says so, and stays.
pub const DEAF: &str = "exec 0<&-; echo deaf; exec sleep 600";
/// Says what it has been given.
pub const ECHO_ENV: &str = "echo \"$GREETING from $PWD\"";
/// Floods its errors with 300 000 bytes, then says that it is done.
pub const FLOOD: &str = "head -c 300000 /dev/zero >&2; echo done";

/// Gives a world stand-ins of the programs that the tests start.
pub fn install(world: &World) {
    world.program("true", |_| async { 0 });
    world.program("false", |_| async { 1 });
    world.program("cat", cat);
    world.program("sleep", sleep);
    world.program("sh", sh);
}

async fn cat(mut process: ProcessContext) -> i32 {
    loop {
        match process.stdin.read(4_096).await {
            Ok(data) if data.is_empty() => return 0,
            Ok(data) => {
                if process.stdout.write(&data).await.is_err() {
                    return -Signal::PIPE.number();
                }
            }
            Err(_) => return 1,
        }
    }
}

async fn sleep(process: ProcessContext) -> i32 {
    let seconds = process.args().first().and_then(|it| it.parse().ok());
    process.event_loop().sleep(Duration::from_secs_f64(seconds.unwrap_or(0.0))).await;
    0
}

/// The scripts of the tests, one by one.
async fn sh(process: ProcessContext) -> i32 {
    let script = process.args().get(1).cloned().unwrap_or_default();
    run(process, &script).await.unwrap_or(-Signal::PIPE.number())
}

async fn run(process: ProcessContext, script: &str) -> std::io::Result<i32> {
    let lp = process.event_loop().clone();
    let stay = || lp.sleep(Duration::from_secs(600));
    match script {
        TALK => {
            process.stdout.write(b"out\n").await?;
            process.stderr.write(b"err\n").await?;
            Ok(3)
        }
        STAY | STUBBORN => {
            if script == STUBBORN {
                process.add_signal_handler(Signal::TERM, || ())?;
            }
            process.stdout.write(b"ready\n").await?;
            stay().await;
            Ok(0)
        }
        POLITE => {
            let asked = Event::new();
            let own = asked.clone();
            process.add_signal_handler(Signal::TERM, move || own.set())?;
            process.stdout.write(b"ready\n").await?;
            asked.wait().await;
            Ok(7)
        }
        DEAF => {
            process.stdin.transport().close();
            process.stdout.write(b"deaf\n").await?;
            stay().await;
            Ok(0)
        }
        ECHO_ENV => {
            let greeting = process.env("GREETING").unwrap_or_default();
            let place = process.current_dir().unwrap_or_default();
            process.stdout.write(format!("{greeting} from {place}\n").as_bytes()).await?;
            Ok(0)
        }
        FLOOD => {
            process.stderr.write(&vec![0; 300_000]).await?;
            process.stdout.write(b"done\n").await?;
            Ok(0)
        }
        _ => {
            let complaint = format!("sh: no stand-in for {script:?}\n");
            process.stderr.write(complaint.as_bytes()).await?;
            Ok(2)
        }
    }
}
