//! Replies read cell by cell, and those that are none.

use super::*;

fn answers() -> Answers {
    Answers::new(vec!["cpf".to_owned(), "nome".to_owned()])
}

fn table(answers: &Answers, answer: &Answer) -> Vec<Vec<String>> {
    answers.rows(answer).map(|row| row.map(str::to_owned).collect()).collect()
}

#[test]
fn a_batch_is_read_cell_by_cell() {
    let mut read = answers();
    let line = concat!(
        r#"{"id":7,"status":"ok","results":["#,
        r#"{"status":"ok","rows":[{"cpf":"1","nome":"JOS\u00c9 \"X\""},{"cpf":null,"nome":-1.5}],"total":2,"next":null},"#,
        r#"{"status":"error","code":"invalid_cpf","message":"m","retry_after_ms":3},"#,
        r#"{"status":"ok","rows":[],"total_at_least":9,"next":"c","bounded":true,"warning":"check_digits"},"#,
        r#"{"status":"ok","rows":[{"cpf":1.0,"nome":{"base64":"AP8="}}],"distances":[4],"total":1,"next":null,"new":[{}]}"#,
        r#"]}"#
    );
    for _ in 0..2 {
        read.read(line).unwrap();
        let items = read.items();
        assert_eq!(items.len(), 4);
        assert_eq!(table(&read, &items[0]), [["1", "JOSÉ \"X\""], ["", "-1.5"]]);
        assert_eq!((items[0].total, items[0].next.as_deref()), (Some(2), None));
        let refusal = items[1].refusal.as_ref().unwrap();
        assert_eq!((refusal.code.as_str(), refusal.retry_after_ms), ("invalid_cpf", Some(3)));
        assert!(items[2].is_empty() && items[2].is_bounded && items[2].has_wrong_check_digits);
        assert_eq!((items[2].total_at_least, items[2].next.as_deref()), (Some(9), Some("c")));
        assert_eq!(table(&read, &items[3]), [["1.0", "AP8="]]);
        assert_eq!(read.distances(&items[3]), Some([4].as_slice()));
        assert_eq!(read.distances(&items[0]), None);
    }
    read.read(r#"{"status":"ok","rows":[{"cpf":"2","nome":"A"}]}"#).unwrap();
    assert_eq!(table(&read, &read.items()[0]), [["2", "A"]]);
}

#[test]
fn what_is_no_answer_is_refused() {
    for (line, expected) in [
        (r#"{"status":"ok"}"#, Unread::NotBalcao),
        (r#"{"rows":[]}"#, Unread::NotBalcao),
        (r#"{"status":"fine","rows":[]}"#, Unread::NotBalcao),
        (r#"{"status":"ok","rows":[],"rows":[]}"#, Unread::NotBalcao),
        (r#"{"status":"ok","rows":[]}}"#, Unread::NotBalcao),
        (r#"{"status":"ok","rows":[{"cpf":[],"nome":1}]}"#, Unread::NotBalcao),
        (r#"{"status":"ok","rows":[{"cpf":{"x":1},"nome":1}]}"#, Unread::NotBalcao),
        (r#"{"status":"ok","rows":[],"distances":[1]}"#, Unread::NotBalcao),
        (r#"{"status":"ok","rows":[],"distances":[256]}"#, Unread::NotBalcao),
        (r#"{"status":"ok","results":[{"status":"ok"}]}"#, Unread::NotBalcao),
        (r#"{"status":"ok","rows":[{"cpf":1}]}"#, Unread::OtherColumns),
        (r#"{"status":"ok","rows":[{"nome":1,"cpf":1}]}"#, Unread::OtherColumns),
        (r#"{"status":"ok","rows":[{"cpf":1,"nome":1,"x":1}]}"#, Unread::OtherColumns),
    ] {
        assert_eq!(answers().read(line), Err(expected), "{line}");
    }
}
