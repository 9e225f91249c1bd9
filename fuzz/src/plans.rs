//! The text of a plan: whatever it says, reading it ends, and what was read is what is printed.

use sim_net::{Plan, Sim};

use crate::Finding;

/// Reads some bytes as a plan, prints it, and reads that.
///
/// # Errors
///
/// A plan that is another one when it was printed and read again.
///
/// # Panics
///
/// If the reader does.
pub fn run(bytes: &[u8]) -> Result<(), Finding> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    let plan: Plan = match text.parse() {
        Ok(plan) => plan,
        Err(errors) => {
            // Each says where it is, in the text that there is.
            let _ = errors.to_string();
            return Ok(());
        }
    };
    let printed = plan.to_string();
    let again: Plan = printed.parse().map_err(|errors| {
        format!("{text:?} is a plan, but as printed it is none:\n{printed}\n{errors}")
    })?;
    if again != plan {
        let diff = plan.diff(&again);
        return Err(format!("{text:?} is printed as another plan:\n{printed}\n{diff}"));
    }
    if again.to_string() != printed {
        return Err(format!("{printed}is printed in another way when it was read:\n{again}"));
    }
    // Whether it can be carried out is told, too.
    drop(plan.check(&["a", "b"]));
    drop(Sim::new(1).replay(&plan));
    Ok(())
}
