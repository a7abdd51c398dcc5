//! The peer's answers to searches and claims, and flaws in them.

use super::*;
use crate::oracle::filters::{Where, read_day, read_sex};
use crate::oracle::reading::{normalise, read_cpf, read_cpf_number};
use crate::oracle::search::is_allowed;
use crate::oracle::words::{Likeness, demands};

fn likeness(request: &Value) -> Likeness {
    match (request["match"] == "words", request["spelling"] == "pt") {
        (true, _) => Likeness::Same,
        (false, false) => Likeness::Edits,
        (false, true) => Likeness::EditsOrSpelling,
    }
}

pub(super) fn filter(r#where: &Value) -> Where {
    let birth = &r#where["nasc"];
    let day = |value: &Value| value.as_str().and_then(read_day);
    let born = if birth.is_string() { (day(birth), day(birth)) } else { (day(&birth["from"]), day(&birth["to"])) };
    Where { sex: r#where["sexo"].as_str().and_then(read_sex), born: (!birth.is_null()).then_some(born) }
}

pub(super) fn answer(searchable: &Searchable<'_>, request: &Value, limit: usize) -> Value {
    let question = normalise(request["nome"].as_str().unwrap_or_default());
    let demands = demands(&question, request["last"] != "whole");
    if question.is_empty() || !is_allowed(&demands, likeness(request)) {
        return error(if question.is_empty() { "invalid_name" } else { "bad_request" });
    }
    let found = searchable.search(&demands, likeness(request), &filter(&request["where"]));
    let (mut reply, shown) = page(searchable.table, request, &found.rows, limit);
    if let Some(distances) = found.distances.filter(|_| reply["status"] == "ok") {
        reply["distances"] = distances[shown].into();
    }
    reply
}

pub(super) fn verify(searchable: &Searchable<'_>, request: &Value) -> Value {
    let cpf = match &request["cpf"] {
        Value::String(text) => read_cpf(text),
        number => read_cpf_number(&number.to_string()),
    };
    let (Some(cpf), name) = (cpf, request["nome"].as_str()) else { return error("invalid_cpf") };
    let likeness = likeness(request);
    match name.map(normalise) {
        Some(name) if name.is_empty() => return error("invalid_name"),
        Some(name) if !is_allowed(&demands(&name, false), likeness) => return error("bad_request"),
        _ => {}
    }
    let told = searchable.verify(&cpf, name, request["nasc"].as_str().and_then(read_day), likeness);
    let mut reply = json!({"status": "ok", "cpf": told.cpf});
    if let Some(name) = told.name {
        reply["nome"] = name.as_str().into();
    }
    if let Some(birth) = told.birth {
        reply["nasc"] = birth.into();
    }
    if told.warning {
        reply["warning"] = "check_digits".into();
    }
    reply
}

fn is_fuzzy(request: &Value) -> bool {
    request["match"] == "fuzzy" && request["spelling"].is_null()
}

#[test]
fn wrong_searches_are_differences() {
    let distances: Flaw = |request, reply| {
        if is_fuzzy(request)
            && let Some(distance) = reply["distances"].get_mut(0)
        {
            *distance = json!(distance.as_u64().unwrap_or_default() + 1);
        }
    };
    check(distances, Kind::Fuzzy, "distances");
    let no_distances: Flaw = |request, reply| {
        if is_fuzzy(request) {
            reply.as_object_mut().unwrap().remove("distances");
        }
    };
    check(no_distances, Kind::Fuzzy, "distances");
    let order: Flaw = |request, reply| {
        if request["spelling"] == "pt" {
            rows_of(reply).into_iter().for_each(|rows| rows.reverse());
        }
    };
    check(order, Kind::FuzzySpelling, "another row");
    let at_least: Flaw = |request, reply| {
        if request["match"] == "words" {
            reply["total_at_least"] = reply["total"].take();
        }
    };
    check(at_least, Kind::Words, "at least");
    let bounded: Flaw = |request, reply| {
        if request["match"] == "words" {
            rows_of(reply).into_iter().for_each(|rows| rows.truncate(1));
            reply["bounded"] = json!(true);
        }
    };
    check(bounded, Kind::Words, "");
    // Of one kind alone: only the first ten differences are kept, and which come first is a matter of the connections.
    let filter: Flaw = |request, reply| {
        if request["match"] == "words" && request["where"]["sexo"].is_string() && reply["rows"].is_array() {
            *reply = json!({"status": "ok", "rows": [], "total": 0, "next": null});
        }
    };
    check(filter, Kind::FilteredWords, "expected");
}

#[test]
fn wrong_agreements_are_differences() {
    let more: Flaw = |request, reply| {
        if request["op"] == "verify" && reply["cpf"] == true {
            reply["rows"] = json!([]);
        }
    };
    check(more, Kind::Claim, "expected {");
    let birth: Flaw = |request, reply| {
        if request["op"] == "verify" && reply["nasc"].is_boolean() {
            reply["nasc"] = json!(true);
        }
    };
    check(birth, Kind::Claim, "\"nasc\":false");
}

#[test]
fn budgets_are_waited_for() {
    use std::sync::atomic::AtomicU32;
    static REFUSALS: AtomicU32 = AtomicU32::new(3);
    let report = run_against(|request, reply| {
        let is_drawn = request["op"] == "verify" && !request["id"].as_str().is_some_and(|id| id.contains('_'));
        let left = REFUSALS.load(Ordering::Relaxed);
        if is_drawn && left > 0 {
            REFUSALS.store(left - 1, Ordering::Relaxed);
            *reply = json!({"status": "error", "code": "budget_exceeded", "message": "enough", "retry_after_ms": 1});
        }
    });
    assert_eq!(report.differences, 0, "{report}");
    assert!(report.overloaded > 0, "{report}");
}
