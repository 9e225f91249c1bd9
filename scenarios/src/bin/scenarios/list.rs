//! `scenarios list`.

use serde_json::json;

use crate::Done;

pub(crate) fn list(as_json: bool) -> Done {
    let scenarios = scenarios::all();
    if as_json {
        let entries: Vec<_> = scenarios
            .iter()
            .map(|scenario| json!({ "name": scenario.name(), "summary": scenario.summary() }))
            .collect();
        say!("{}", serde_json::Value::from(entries));
        return Ok(true);
    }
    let width = scenarios.iter().map(|scenario| scenario.name().len()).max().unwrap_or(0);
    for scenario in &scenarios {
        let server = if scenario.can_serve() { "" } else { " (no server half)" };
        say!("{:width$}  {}{server}", scenario.name(), scenario.summary());
    }
    Ok(true)
}
