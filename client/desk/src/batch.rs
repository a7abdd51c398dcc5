//! `client batch`: a CSV file of CPFs and names in, the same lines with their rows out.
//!
//! Lines are grouped into `op: batch` requests that keep to the server's limits, a few of them in flight. What is held at any time is
//! those groups and one page, however long the file is. Lines are written in order, so a group is settled whole before the next one.

mod columns;
mod encoding;
mod input;
mod output;
mod pace;
mod records;
mod run;
mod tally;
mod value;

use std::fs::File;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use balcao_client::{Answers, Client, Name, Question};

use crate::args;
use crate::interrupt::{Interrupt, Interrupted};
use crate::progress;
use crate::screen;
use input::Input;
use output::Output;
use pace::Pace;
use run::Run;
use tally::Tally;

/// Answers each line of a file; whether none was bad or got an error code. `connect` is called once the files are known to be usable.
pub(crate) fn run(
    connect: impl FnOnce() -> Result<Client>,
    args: &args::Batch,
    peer: &args::Peer,
    interrupt: &Interrupt,
) -> Result<bool> {
    let shown = args.input.display();
    let advice = || format!("cannot read {shown}; name a CSV file that is there and readable");
    let file = File::open(&args.input).with_context(advice)?;
    let bytes = file.metadata().with_context(advice)?.len();
    output::check(&args.input, &args.out)?;
    let mut input = Input::open(file, &args.columns).with_context(|| format!("{shown} cannot be asked"))?;
    let mut client = connect()?;
    let hello = client.hello()?;
    let header = output::header(input.has_bom(), input.separator(), input.header(), &hello.columns);
    let output = if args.append {
        Output::append(&args.out, input.separator(), &header)?
    } else {
        Output::create(&args.out, input.separator(), &header)?
    };
    let skip = args.skip.unwrap_or_default();
    if !input.skip(skip)? {
        bail!("{shown} has fewer than {skip} lines; --skip takes what the interrupted run said");
    }
    // From here on the run looks itself whether an end is wanted.
    interrupt.hold();
    let how: Name = args.how.into();
    let mut run = Run {
        client,
        limits: hello.limits,
        pattern: Question { r#match: Some(how.as_str()), limit: args.first.then_some(1), ..Question::default() },
        deadline_ms: deadline_ms(how, peer.timeout),
        is_first_only: args.first,
        json: peer.json,
        answers: Answers::new(hello.columns.clone()),
        page: Answers::new(hello.columns),
        pace: Pace::start(how, args.first, &hello.limits),
        output,
        tally: Tally::start(),
        interrupt,
    };
    let bar = progress::bytes(bytes);
    let done = run.all(&mut input, &bar);
    bar.finish_and_clear();
    let Run { mut output, tally, .. } = run;
    // A disk may be full no sooner than at the last block: that is an end like any other.
    if let Err(error) = done.and_then(|()| output.publish()) {
        // The shut connection is only how an interrupt shows.
        let error = interrupt.check().err().unwrap_or(error);
        return Err(broken_off(error, output, skip, args));
    }
    screen::note(&tally.summary());
    if let Some(remark) = input.remark() {
        screen::warning(&remark);
    }
    Ok(tally.failed() == 0)
}

/// The time that the server has for a batch: its own default, but for the dear ones all that the user waits.
fn deadline_ms(how: Name, timeout: Duration) -> Option<u32> {
    let dear = matches!(how, Name::Words | Name::Fuzzy);
    let most = balcao_wire::limits::DEADLINE_MS_MAX;
    dear.then(|| u32::try_from(timeout.as_millis() * 9 / 10).unwrap_or(most).clamp(1, most))
}

/// Ends a run before its time, and says how to go on with it.
fn broken_off(error: anyhow::Error, output: Output, skip: u64, args: &args::Batch) -> anyhow::Error {
    let shown = args.out.display();
    let text = match output.break_off() {
        Ok(0) if skip == 0 => format!("no line was answered, so {shown} is as it was; run it again"),
        Ok(lines) => {
            let lines = skip + lines;
            format!(
                "{shown} has the answers to the first {lines} lines; to go on, run it again with --skip {lines} --append"
            )
        }
        Err(error) => format!("{shown} could not be ended on a whole line ({error:#}); run it again from the start"),
    };
    if error.is::<Interrupted>() {
        screen::note(&text);
        error
    } else {
        anyhow!("{error:#}; {text}")
    }
}
