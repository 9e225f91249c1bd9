//! Mail over SMTP that becomes TLS on the way: `STARTTLS` (RFC 3207).
//!
//! Clients hand their letters to a server that takes none before the connection is secured. Another host sends
//! commands behind its `STARTTLS`, in the same segment, so that a server which keeps them would take them for
//! secured ones. Invariants: each letter arrives once and whole, both ends of each connection are told as ends, and
//! of who went on in plain text nothing is taken.
//!
//! It stands what TCP stands. The server alone speaks with whoever speaks SMTP:
//! `openssl s_client -starttls smtp -connect ..`; its certificate is new at each start.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use sim_core::stream::{StreamReader, StreamWriter, serving};
use sim_core::tls::{TlsAcceptor, TlsConnector};
use sim_core::{Failure, FaultMix, Loop, Scenario, World};

use crate::Violation;
use crate::certificates::Authority;
use crate::patience::{all_within, within};
use crate::violation::ensure;

const PORT: u16 = 25;
const FAULTS: FaultMix = FaultMix::new("latency=1ms..20ms,loss=1%,reorder=1%");
/// How many lines a letter has, at most.
const LETTER_LINES_MAX: u64 = 400;

/// The letters that a server has taken, by who sent them.
type Mailbox = Rc<RefCell<BTreeMap<String, Vec<String>>>>;

/// The scenario `starttls`.
pub fn scenario() -> Scenario {
    let summary =
        "letters over SMTP that becomes TLS; nothing is taken that was said in plain text";
    Scenario::new("starttls", summary, run)
        .serve(|lp, listen| async move {
            let acceptor = Authority::of(&lp).acceptor("localhost");
            let handler = serving(serve(acceptor, Mailbox::default()));
            Ok(lp.server().bind(listen, handler).await?.into())
        })
        .faults(FAULTS)
}

async fn run(world: World) -> Result<(), Failure> {
    let host = world.host("server");
    let mailbox = Mailbox::default();
    let mut authority = Authority::of(&host);
    let handler = serve(authority.acceptor("server"), Rc::clone(&mailbox));
    let server = host.create_server(("server", PORT), serving(handler)).await?;

    let mallory = world.host("mallory");
    let injecting = mallory.create_named_task("inject", inject(mallory.clone()));
    let clients = world.size("starttls.clients", 1..=4);
    let mut letters = BTreeMap::new();
    let mut sending = Vec::new();
    for index in 0..clients {
        let name = format!("client-{index}");
        let (lp, connector) = (world.host(&name), authority.connector().require_close_notify(true));
        let mut rng = world.rng(&name);
        let count = world.size("starttls.letters", 1..=3);
        let letter = |_| {
            (0..rng.range(1..LETTER_LINES_MAX))
                .map(|_| format!("{:064x}\r\n", rng.next_u64()))
                .collect()
        };
        let mine: Vec<String> = (0..count).map(letter).collect();
        letters.insert(name.clone(), mine.clone());
        sending.push(lp.clone().create_named_task(name.clone(), send(lp, connector, name, mine)));
    }
    all_within(&host, "the letters of client", sending).await?;
    within(&mallory, "the end of the injection", injecting).await???;
    server.close();
    within(&host, "the end of the server's connections", server.wait_closed()).await?;

    let mailbox = mailbox.borrow();
    ensure!(!mailbox.contains_key("mallory"), "a letter was taken that came in plain text");
    ensure!(*mailbox == letters, "the letters that arrived are not those that were sent");
    Ok(())
}

/// Serves a connection.
fn serve(
    acceptor: TlsAcceptor,
    mailbox: Mailbox,
) -> impl Fn(StreamReader, StreamWriter) -> std::pin::Pin<Box<dyn Future<Output = io::Result<()>>>>
{
    move |reader, writer| {
        let session = Session { reader, writer, sender: String::new() };
        Box::pin(session.run(acceptor.clone(), Rc::clone(&mailbox)))
    }
}

/// A server's side of a connection.
struct Session {
    reader: StreamReader,
    writer: StreamWriter,
    /// Who the next letter is from.
    sender: String,
}

impl Session {
    async fn run(mut self, acceptor: TlsAcceptor, mailbox: Mailbox) -> io::Result<()> {
        self.reply("220 server ESMTP");
        loop {
            let line = self.line().await?;
            let secured = self.writer.transport().tls().is_some();
            let command = line.to_ascii_uppercase();
            match command.split([' ', ':']).next().unwrap_or_default() {
                "" if line.is_empty() && self.reader.at_eof() => break,
                "EHLO" | "HELO" if secured => self.reply("250 server"),
                "EHLO" | "HELO" => self.reply("250-server\r\n250 STARTTLS"),
                "STARTTLS" if !secured => {
                    self.reply("220 go ahead");
                    // Whoever goes on in plain text fails here, in the handshake.
                    let upgrade = self.writer.start_tls(&mut self.reader, acceptor.clone());
                    if upgrade.await.is_err() {
                        return Ok(());
                    }
                }
                "QUIT" => {
                    self.reply("221 bye");
                    break;
                }
                _ if !secured => self.reply("530 Must issue a STARTTLS command first"),
                "MAIL" => {
                    self.sender =
                        line[line.find(':').map_or(0, |colon| colon + 1)..].trim().to_owned();
                    self.reply("250 OK");
                }
                "RCPT" | "RSET" | "NOOP" => self.reply("250 OK"),
                "DATA" => {
                    self.reply("354 end with a dot");
                    let letter = self.letter().await?;
                    mailbox.borrow_mut().entry(self.sender.clone()).or_default().push(letter);
                    self.reply("250 OK");
                }
                _ => self.reply("502 command not implemented"),
            }
            self.writer.drain().await?;
        }
        self.writer.close();
        self.writer.wait_closed().await
    }

    fn reply(&self, text: &str) {
        self.writer.write(format!("{text}\r\n").as_bytes());
    }

    async fn line(&mut self) -> io::Result<String> {
        let line = self.reader.read_line().await?;
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Lines up to a dot of its own.
    async fn letter(&mut self) -> io::Result<String> {
        let mut letter = String::new();
        loop {
            let line = self.line().await?;
            if line == "." {
                return Ok(letter);
            }
            if line.is_empty() && self.reader.at_eof() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            letter.push_str(&line);
            letter.push_str("\r\n");
        }
    }
}

/// Sends letters over one connection.
async fn send(
    lp: Loop,
    connector: TlsConnector,
    name: String,
    letters: Vec<String>,
) -> Result<(), Failure> {
    let (mut reader, writer) = lp.open_connection(("server", PORT)).await?;
    expect(&mut reader, "220").await?;
    say(&writer, &mut reader, "EHLO client\r\n", "250").await?;
    say(&writer, &mut reader, "STARTTLS\r\n", "220").await?;
    writer.start_tls(&mut reader, connector.to("server")).await?;
    say(&writer, &mut reader, "EHLO client\r\n", "250").await?;
    for letter in letters {
        say(&writer, &mut reader, &format!("MAIL FROM:{name}\r\n"), "250").await?;
        say(&writer, &mut reader, "RCPT TO:<somebody>\r\n", "250").await?;
        say(&writer, &mut reader, "DATA\r\n", "354").await?;
        writer.write(letter.as_bytes());
        writer.drain().await?;
        say(&writer, &mut reader, ".\r\n", "250").await?;
    }
    say(&writer, &mut reader, "QUIT\r\n", "221").await?;
    let rest = reader.read_to_end().await?;
    ensure!(rest.is_empty(), "{} bytes came behind the last answer", rest.len());
    writer.wait_closed().await.map_err(Failure::from)
}

/// Says a line, and waits for the answer.
async fn say(
    writer: &StreamWriter,
    reader: &mut StreamReader,
    line: &str,
    code: &str,
) -> Result<(), Failure> {
    writer.write(line.as_bytes());
    expect(reader, code).await
}

/// Reads an answer, which has a line or several.
async fn expect(reader: &mut StreamReader, code: &str) -> Result<(), Failure> {
    loop {
        let line = reader.read_line().await.map_err(io::Error::from)?;
        let line = String::from_utf8_lossy(&line);
        ensure!(
            line.starts_with(code),
            "{:?} is no answer that begins with {code}",
            line.trim_end()
        );
        if line.as_bytes().get(3) == Some(&b' ') {
            return Ok(());
        }
    }
}

/// Goes on in plain text behind the command that ends it, and hopes that this is kept.
async fn inject(lp: Loop) -> Result<(), Failure> {
    let (mut reader, writer) = lp.open_connection(("server", PORT)).await?;
    expect(&mut reader, "220").await?;
    writer.write(b"STARTTLS\r\nMAIL FROM:mallory\r\nRCPT TO:<somebody>\r\nDATA\r\nsecured, surely\r\n.\r\nQUIT\r\n");
    let answer = reader.read_line().await.map_err(io::Error::from)?;
    ensure!(answer.starts_with(b"220"), "the server does not begin the handshake");
    // An alert, at most. How it ends is up to the network; that it took nothing, is looked at later.
    match reader.read_to_end().await {
        Ok(rest) if rest.windows(4).any(|code| code == b"250 ") => {
            Err(Violation::new("a command in plain text was executed").into())
        }
        _ => Ok(()),
    }
}
