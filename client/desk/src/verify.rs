//! `client verify`: whether what the asker holds agrees with the registry. It shows nothing of a row, since none comes.

use std::io::{self, IsTerminal, Write};

use anyhow::{Context, Result};
use balcao_client::{Client, Question, Reply};

use crate::args::Verify;
use crate::screen;

/// Asks, and tells which of the values agree; whether there was an answer.
pub(crate) fn run(client: &mut Client, args: &Verify, json: bool) -> Result<bool> {
    let question = Question {
        op: Some("verify"),
        cpf: Some(&args.cpf),
        nome: args.nome.as_deref(),
        nasc: args.nasc.as_deref(),
        spelling: args.spelling.map(Into::into),
        deadline_ms: args.deadline_ms,
        ..Question::default()
    };
    let received = client.ask(&question)?;
    let refusal = client.refused(&received);
    let mut out = io::stdout().lock();
    let written = if json {
        let is_terminal = out.is_terminal();
        screen::reply_line(&received.line, is_terminal, &mut out)
    } else if refusal.is_ok() {
        let reply = client.reply(&received)?;
        if reply.warning.as_deref() == Some("check_digits") {
            screen::warning(screen::WRONG_CHECK_DIGITS);
        }
        out.write_all(told(&reply).as_bytes())
    } else {
        Ok(())
    };
    written.and_then(|()| out.flush()).context(screen::UNWRITTEN)?;
    match refusal {
        Ok(()) => Ok(true),
        Err(error) if error.refusal().is_some() => {
            screen::error(&error.to_string());
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// A line for each value that was asked about.
fn told(reply: &Reply) -> String {
    let agrees = |agrees: bool| if agrees { "agrees" } else { "does not agree" };
    let mut lines = Vec::new();
    if let Some(cpf) = reply.cpf {
        lines.push(format!("cpf   {}", if cpf { "is in the registry" } else { "is not in the registry" }));
    }
    if let Some(nome) = &reply.nome {
        let text = match nome.as_str() {
            "exact" => "agrees",
            "words" => "agrees by its words",
            "fuzzy" => "is near, and not the same",
            "no" => "does not agree",
            other => &screen::printable(other),
        };
        lines.push(format!("nome  {text}"));
    }
    if let Some(nasc) = reply.nasc {
        lines.push(format!("nasc  {}", agrees(nasc)));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agrees_is_told_in_words() {
        let reply = Reply { cpf: Some(true), nome: Some("words".to_owned()), nasc: Some(false), ..Reply::default() };
        let expected = "cpf   is in the registry\nnome  agrees by its words\nnasc  does not agree\n";
        assert_eq!(told(&reply), expected);
        let reply = Reply { cpf: Some(false), nome: Some("\u{9b}2J".to_owned()), ..Reply::default() };
        assert_eq!(told(&reply), "cpf   is not in the registry\nnome  \\u{9b}2J\n");
    }
}
