//! The worker: a shell script on a real machine, and its stand-in on a simulated one.

use std::io;

use sim_core::program::ProcessContext;

/// Answers each job, and crashes with [`CRASH`] when it gets one more than it has lives.
pub(super) const SCRIPT: &str = "left=$1
while read -r job; do
    [ \"$left\" -gt 0 ] || exit 3
    left=$((left - 1))
    echo \"done $job\"
done";

/// The exit code of a crash.
pub(super) const CRASH: i32 = 3;

/// The shell of a simulated machine, which knows one script.
pub(super) async fn sh(mut process: ProcessContext) -> i32 {
    let lives = match process.args() {
        [_, script, _, lives] if script == SCRIPT => lives.parse().unwrap_or(0),
        _ => return 127,
    };
    // Its parent's death is its own.
    work(&mut process, lives).await.unwrap_or(1)
}

async fn work(process: &mut ProcessContext, lives: u64) -> io::Result<i32> {
    for left in (0..=lives).rev() {
        let line = process.stdin.read_line().await?;
        let Some(job) = line.strip_suffix(b"\n") else {
            return Ok(0);
        };
        if left == 0 {
            return Ok(CRASH);
        }
        process.stdout.write(&[b"done ", job, b"\n"].concat()).await?;
    }
    Ok(0)
}
