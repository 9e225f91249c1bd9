//! A browser without a window, if there is one here.

use std::env;
use std::fs;
use std::process::{self, Command};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// What a page says of itself when it is opened in a browser and told to try itself; `None` if there is
/// no browser here. `name` is told apart from those of other tests.
pub(crate) fn try_page(name: &str, page: &[u8]) -> Option<String> {
    let browser = NAMES.into_iter().find(|name| {
        let version = Command::new(name).arg("--version").output();
        version.is_ok_and(|output| output.status.success())
    })?;
    let folder = env::temp_dir().join(format!("timeline-{name}-{}", process::id()));
    fs::create_dir_all(&folder).expect("the temporary folder takes folders");
    let file = folder.join("page.html");
    fs::write(&file, page).expect("the temporary folder takes files");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        // Nor does the browser itself find anybody.
        .arg("--host-resolver-rules=MAP * ~NOTFOUND")
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        // It waits for what the page does, and for no longer than this much of the page's time.
        .args(["--virtual-time-budget=60000", "--window-size=1400,900", "--dump-dom"])
        .arg(format!("file://{}#selftest", file.display()))
        .output();
    fs::remove_dir_all(&folder).expect("it was made");
    let output = output.expect("it told its version");
    let dom = String::from_utf8_lossy(&output.stdout);
    let said = dom.split_once("data-selftest=\"").and_then(|(_, rest)| rest.split_once('"'));
    match said {
        Some((said, _)) => Some(said.to_owned()),
        None => panic!("the page said nothing: {}", String::from_utf8_lossy(&output.stderr)),
    }
}
