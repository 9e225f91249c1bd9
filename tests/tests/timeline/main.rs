//! The timeline: written from runs, and opened in a browser, where the page tries itself. It clicks on an
//! event and looks whether its causal past is what is highlighted; it searches, filters and draws on
//! both axes; and it sees that it can ask for nothing from elsewhere.

mod browser;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_check::{Timeline, check};
use sim_core::{Cx, Protocol, World};
use sim_net::{LinkRule, Plan, Report, Sim};

fn page(timeline: &Timeline<'_>) -> Vec<u8> {
    let mut page = Vec::new();
    timeline.write_html(&mut page).expect("a vector takes all that is written");
    page
}

/// A run of a scenario with its log kept.
fn run(name: &str, seed: u64, change: impl FnOnce(Sim) -> Sim) -> Report<()> {
    let scenario = scenarios::find(name).expect("it is one of the scenarios");
    let sim = change(check(name).simulation(seed, |world| scenario.run(world)));
    sim.trace(true).run(|world| scenario.run(world))
}

/// Opens a page, where there is a browser.
fn try_in_browser(name: &str, page: &[u8]) {
    match browser::try_page(name, page) {
        Some(said) => {
            assert!(said.starts_with("ok: "), "{name}: {said}");
            println!("{name}: {said}");
        }
        None => println!("skipped: there is no Chromium here"),
    }
}

#[test]
fn a_page_with_everything_that_can_befall_a_run_does_what_it_should() {
    let plan: Plan = "plan 1.0
cut node-0 node-1 300ms..900ms
crash witness 600ms for 1s
pause node-1 1s for 300ms
link client-0 node-0 1.5s..2.5s \"latency=50ms,loss=20%\"
"
    .parse()
    .expect("a plan");
    let rule: LinkRule = "latency=1ms..4ms,loss=2%,dup=2%,reorder=2%".parse().expect("a rule");
    let report = run("failover", 5, |sim| sim.link(rule).plan(&plan).expect("it needs no binding"));
    let timeline = Timeline::new("failover", &report).expect("a log was kept");
    try_in_browser("everything", &page(&timeline.plan(&plan).note("seed 5")));
    report.unwrap();
}

#[test]
fn a_check_that_failed_shows_its_finding_from_one_more_run_of_its_seed() {
    async fn fails(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let _listening = server.create_server(("server", 7000), Talker::default).await?;
        let conn = client.create_connection(("server", 7000), Talker::default).await?;
        client.sleep(Duration::from_millis(20)).await;
        conn.transport().close();
        Err(io::Error::other("</script> is \"not\" the end"))
    }
    let check = check("fails").seeds(3);
    let verdict = check.verdict(fails);
    let failed = &verdict.failures[0];
    let report = check.simulation(failed.seed(), fails).trace(true).run(fails);
    assert_eq!(report.hash, failed.hash);
    let timeline = Timeline::new("fails", &report).expect("a log was kept");
    try_in_browser("finding", &page(&timeline));
}

#[test]
fn a_run_in_which_nothing_happens_has_a_page_too() {
    let report = Sim::new(1).trace(true).run(|_| async {});
    let timeline = Timeline::new("nothing", &report).expect("a log was kept");
    try_in_browser("nothing", &page(&timeline));
}

#[test]
fn a_hundred_thousand_events_fit_into_a_page() {
    let rule: LinkRule = "latency=1ms..2ms,loss=0.1%,mtu=800".parse().expect("a rule");
    let report = run("upload", 1, |sim| sim.link(rule));
    assert!(report.events > 100_000, "{} events", report.events);
    let page = page(&Timeline::new("upload", &report).expect("a log was kept"));
    assert!(page.len() < 15_000_000, "{} bytes", page.len());
    try_in_browser("many", &page);
    report.unwrap();
}

/// Says something for each thing it hears, some times.
#[derive(Default)]
struct Talker {
    heard: u32,
    asked: Rc<Cell<u32>>,
}

impl Protocol for Talker {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(b"well?");
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, _data: &[u8]) {
        self.heard += 1;
        if self.heard < 5 {
            cx.write(b"well..");
        }
    }

    fn digest(&self) -> Option<String> {
        self.asked.set(self.asked.get() + 1);
        Some(format!("heard {}", self.heard))
    }
}

async fn talk(world: World, asked: Rc<Cell<u32>>) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let ears = Rc::clone(&asked);
    let make = move || Talker { heard: 0, asked: Rc::clone(&ears) };
    let _listening = server.create_server(("server", 7000), make.clone()).await?;
    let conn = client.create_connection(("server", 7000), make).await?;
    client.sleep(Duration::from_millis(50)).await;
    conn.with(|talker, cx| {
        talker.heard = 100;
        cx.close();
    });
    conn.closed().await
}

#[test]
fn a_protocol_is_asked_for_more_than_its_last_state_while_a_log_is_kept_and_nothing_changes() {
    let run = |keep: bool| {
        let asked = Rc::new(Cell::new(0));
        let ears = Rc::clone(&asked);
        let report = Sim::new(1).trace(keep).run(|world| talk(world, ears));
        (report, asked.get())
    };
    let (plain, seldom) = run(false);
    let (kept, often) = run(true);
    assert_eq!((plain.hash, plain.time, plain.events), (kept.hash, kept.time, kept.events));
    assert_eq!(seldom, 2);
    let log = kept.log.as_ref().expect("a log was kept");
    let states: Vec<_> = log.states().iter().map(|it| (log.host(it.host), &*it.text)).collect();
    assert!(often as usize > states.len(), "what has not changed is kept once");
    assert_eq!(states.iter().filter(|(host, _)| *host == "server").count(), 6, "{states:?}");
    // What is done to it from outside is told too.
    assert!(states.contains(&("client", "heard 100")), "{states:?}");
    kept.unwrap();
}
