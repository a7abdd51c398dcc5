"""The Python peer for files of questions: a loop over the standard library's csv and sqlite3, in one process, without a network.

Written as one would who has the file, a database with an index on each column and an afternoon: one connection, one prepared
statement for each column (sqlite3 caches them), an answer's rows behind the line that asked.

    python3 batch.py DATABASE IN.csv OUT.csv
        both with `;`; a line is asked for by its `cpf`, or by its `nome` where it has no CPF; prints {"lines": …, "rows": …}
"""

import csv
import json
import sqlite3
import sys
import urllib.parse

BY_CPF = "SELECT * FROM cpf WHERE cpf = ?"
BY_NAME = "SELECT * FROM cpf WHERE nome = ?"


def fetch(connection, statement, value):
    try:
        return connection.execute(statement, (value,)).fetchall()
    except sqlite3.OperationalError:
        # A text that is not UTF-8; once in some thousand rows.
        connection.text_factory = lambda text: text.decode(errors="replace")
        rows = connection.execute(statement, (value,)).fetchall()
        connection.text_factory = str
        return rows


def main():
    database, source, target = sys.argv[1:]
    connection = sqlite3.connect(f"file:{urllib.parse.quote(database)}?mode=ro", uri=True)
    columns = [column[0] for column in connection.execute("SELECT * FROM cpf LIMIT 0").description]
    lines = written = 0
    with open(source, encoding="utf-8", newline="") as questions, open(target, "w", encoding="utf-8", newline="") as answers:
        reader, writer = csv.reader(questions, delimiter=";"), csv.writer(answers, delimiter=";", lineterminator="\n")
        header = next(reader)
        cpf, name = header.index("cpf"), header.index("nome")
        writer.writerow(header + ["status"] + columns)
        none = ["none"] + [""] * len(columns)
        for line in reader:
            lines += 1
            rows = fetch(connection, BY_CPF, line[cpf]) if line[cpf] else fetch(connection, BY_NAME, line[name])
            for row in rows:
                writer.writerow([*line, "ok", *row])
            if not rows:
                writer.writerow(line + none)
            written += len(rows) or 1
    print(json.dumps({"lines": lines, "rows": written}))


if __name__ == "__main__":
    main()
