"""The SQLite peer for words of names: FTS5 over the table itself (external content), through the standard library's sqlite3.

Its defaults answer fastest here: without positions (`detail=none`) the index is smaller and every question takes longer. All
segments are merged into one behind the build. Asked in this process, without a network: one connection for each thread.

    python3 fts5.py build DATABASE
        makes the index in the database; prints {"seconds": …, "bytes": …}
    python3 fts5.py ask DATABASE QUESTIONS ORDER FIRST AT_MOST SECONDS THREADS WARM_SECONDS
        asks, on each connection, all lines of QUESTIONS once from line FIRST on without measuring, no new one after WARM_SECONDS; then the lines from line FIRST on, round and round, at most AT_MOST of them and no new one after SECONDS, for the
        first 50 rows in ORDER (`name` or `rowid`); prints {"took_us": […] in the order of the questions, "rows": all rows together}
"""

import json
import sqlite3
import sys
import threading
import time
import urllib.parse

# What a user who cares would set: a quarter of a GiB of pages a connection (negative: KiB), and as much mapped as SQLite allows by default.
SETTINGS = ("PRAGMA cache_size = -262144", "PRAGMA mmap_size = 2147418112")

ROWS = "SELECT cpf.* FROM names JOIN cpf ON cpf.rowid = names.rowid WHERE names MATCH ?"
STATEMENTS = {"name": f"{ROWS} ORDER BY cpf.nome LIMIT 50", "rowid": f"{ROWS} LIMIT 50"}


def used_bytes(connection):
    pragma = lambda name: connection.execute(f"PRAGMA {name}").fetchone()[0]
    return (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")


def build(database):
    connection = sqlite3.connect(database)
    before, began = used_bytes(connection), time.perf_counter()
    connection.execute("CREATE VIRTUAL TABLE names USING fts5(nome, content='cpf', content_rowid='rowid')")
    connection.execute("INSERT INTO names(names) VALUES ('rebuild')")
    connection.execute("INSERT INTO names(names) VALUES ('optimize')")
    connection.commit()
    print(json.dumps({"seconds": time.perf_counter() - began, "bytes": used_bytes(connection) - before}))


def expression(question):
    """All words, and the last one as a beginning."""
    return " ".join(f'"{word}"' for word in question.split()) + "*"


def fetch(connection, statement, match):
    try:
        return connection.execute(statement, (match,)).fetchall()
    except sqlite3.OperationalError:
        # A text that is not UTF-8; once in some thousand rows.
        connection.text_factory = lambda text: text.decode(errors="replace")
        rows = connection.execute(statement, (match,)).fetchall()
        connection.text_factory = str
        return rows


def ask(database, questions, order, first, at_most, seconds, threads, warm_seconds):
    with open(questions, encoding="utf-8") as file:
        matches = [expression(line) for line in file.read().splitlines() if line]
    statement = STATEMENTS[order]
    lock, taken, took, rows, failures = threading.Lock(), [0], {}, [0], []
    ready = threading.Barrier(threads + 1)

    def asker():
        connection = sqlite3.connect(f"file:{urllib.parse.quote(database)}?mode=ro", uri=True)
        for setting in SETTINGS:
            connection.execute(setting).fetchall()
        # The schema is read with the first statement, which is not timed.
        connection.execute("SELECT 1 FROM names WHERE names MATCH '\"A\"' LIMIT 1").fetchall()
        # A new process begins with an empty cache; those it is compared with were asked the list before, too.
        warm_until = time.perf_counter() + warm_seconds
        for place in range(len(matches)):
            if time.perf_counter() >= warm_until:
                break
            fetch(connection, statement, matches[(first + place) % len(matches)])
        ready.wait()
        has_asked = False
        while not has_asked or time.perf_counter() - began < seconds:
            with lock:
                place = taken[0]
                if place >= at_most:
                    return
                taken[0] += 1
            has_asked = True
            asked = time.perf_counter()
            found = fetch(connection, statement, matches[(first + place) % len(matches)])
            microseconds = round((time.perf_counter() - asked) * 1e6)
            with lock:
                took[place] = microseconds
                rows[0] += len(found)

    def guarded():
        try:
            asker()
        except Exception as error:  # Told below: a thread's own end would go unseen.
            failures.append(error)
            ready.abort()

    running = [threading.Thread(target=guarded) for _ in range(threads)]
    began = time.perf_counter()
    for thread in running:
        thread.start()
    try:
        ready.wait()
    except threading.BrokenBarrierError:
        pass
    began = time.perf_counter()
    for thread in running:
        thread.join()
    if failures:
        raise failures[0]
    print(json.dumps({"took_us": [took[place] for place in sorted(took)], "rows": rows[0]}))


def main():
    if sys.argv[1] == "build":
        build(sys.argv[2])
    else:
        database, questions, order, first, at_most, seconds, threads, warm_seconds = sys.argv[2:]
        ask(database, questions, order, int(first), int(at_most), float(seconds), int(threads), float(warm_seconds))


if __name__ == "__main__":
    main()
