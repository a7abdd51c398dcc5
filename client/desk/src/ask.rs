//! `client cpf` and `client nome`: the questions, and in which order they are asked. How answers look is `show`'s affair.

use std::collections::VecDeque;

use anyhow::{Result, bail};
use balcao_client::{Client, Error, Hello, Question, by_cpf, by_name};
use serde_json::{Map, Value};

use crate::args::{Cpf, Form, Nome, Paging};
use crate::interrupt::Interrupt;
use crate::show::{Show, What};

/// Asks for each CPF; whether every one was answered.
pub(crate) fn cpf(client: &mut Client, args: &Cpf, form: Form, interrupt: &Interrupt) -> Result<bool> {
    let hello = client.hello()?;
    let limit = page_rows(&hello, args.paging);
    let what = What { all: args.paging.all, form, counts: false, distances: false };
    let mut show = Show::new(what, hello.columns, interrupt);
    let deadline_ms = args.paging.deadline_ms;
    let questions: Vec<Question<'_>> =
        args.values.iter().map(|value| Question { deadline_ms, ..by_cpf(value, limit) }).collect();
    show.begin()?;
    // Room is left for one question more: the next page of what is being shown.
    let together = hello.limits.in_flight.saturating_sub(1).max(1);
    let mut sent = VecDeque::new();
    let mut unsent = questions.iter();
    for (n, question) in questions.iter().enumerate() {
        while sent.len() < together
            && let Some(question) = unsent.next()
        {
            sent.push_back(match client.send(question) {
                Err(Error::QuestionTooLong { bytes, limit }) => Err(Error::QuestionTooLong { bytes, limit }),
                sent => Ok(sent?),
            });
        }
        show.place((questions.len() > 1).then_some(n + 1));
        match sent.pop_front() {
            Some(Ok(id)) => {
                let received = client.receive_id(id)?;
                show.answer(client, question, received)?;
            }
            Some(Err(error)) => show.failed(&error),
            None => break,
        }
    }
    Ok(!show.has_failed())
}

/// Asks for a name; whether it was answered.
pub(crate) fn nome(client: &mut Client, args: &Nome, form: Form, interrupt: &Interrupt) -> Result<bool> {
    let hello = client.hello()?;
    let filters = filters(args, &hello)?;
    let question = Question {
        last: args.last.map(Into::into),
        spelling: args.spelling.map(Into::into),
        r#where: filters.as_ref(),
        deadline_ms: args.paging.deadline_ms,
        ..by_name(&args.text, Some(args.how.into()), page_rows(&hello, args.paging))
    };
    let what = What { all: args.paging.all, form, counts: true, distances: args.how.has_distances() };
    let mut show = Show::new(what, hello.columns, interrupt);
    show.begin()?;
    if args.paging.all {
        show.every_page(client, &question)?;
    } else {
        let received = client.ask(&question)?;
        show.answer(client, &question, received)?;
    }
    Ok(!show.has_failed())
}

/// Rows of a page: as the user said; else as many as the server gives where all are wanted, and its default where not.
fn page_rows(hello: &Hello, paging: Paging) -> Option<usize> {
    match paging.limit {
        None if paging.all => Some(hello.limits.limit_max),
        limit => limit,
    }
}

/// The `where` of the question: by the columns that the server told.
fn filters(args: &Nome, hello: &Hello) -> Result<Option<Value>> {
    let column = |kind: &str, option: &str| {
        let Some(column) = hello.filters.get(kind) else {
            bail!("the server's index has no column for {option}; ask without it, or have the index built with one");
        };
        Ok(column.clone())
    };
    let mut filters = Map::new();
    if let Some(sex) = &args.sex {
        filters.insert(column("sex", "--sex")?, Value::from(sex.as_str()));
    }
    let days = [("from", &args.born_from), ("to", &args.born_to)];
    let range: Map<String, Value> =
        days.into_iter().filter_map(|(end, day)| Some((end.to_owned(), Value::from(day.as_deref()?)))).collect();
    if !range.is_empty() {
        filters.insert(column("birth", "--born-from and --born-to")?, Value::Object(range));
    }
    Ok((!filters.is_empty()).then_some(Value::Object(filters)))
}
