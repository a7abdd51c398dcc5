"""The Python peer: a thread for each connection, the standard library's sqlite3, JSON lines.

Written as course work usually is, without what would slow it down: one connection to SQLite for each thread, one prepared
statement (sqlite3 caches it), an index on the column, compact JSON. It answers `{"id":1,"cpf":"00000000191"}` in the shape of
docs/protocol.md, and nothing else.

    python3 server.py DATABASE        prints `ready 127.0.0.1:PORT`, serves until it is killed
"""

import json
import socket
import sqlite3
import sys
import threading
import urllib.parse

FETCH = "SELECT * FROM cpf WHERE cpf = ? LIMIT 50"


def connect(database):
    return sqlite3.connect(f"file:{urllib.parse.quote(database)}?mode=ro", uri=True)


def fetch(connection, cpf):
    try:
        cursor = connection.execute(FETCH, (cpf,))
        rows = cursor.fetchall()
    except sqlite3.OperationalError:
        # A text that is not UTF-8; once in some thousand rows.
        connection.text_factory = lambda text: text.decode(errors="replace")
        cursor = connection.execute(FETCH, (cpf,))
        rows = cursor.fetchall()
        connection.text_factory = str
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row)) for row in rows]


def answer(connection, line):
    request = json.loads(line)
    if "cpf" not in request:
        reply = {"id": request.get("id"), "status": "error", "code": "bad_request", "message": "ask for a cpf"}
    else:
        rows = fetch(connection, request["cpf"])
        reply = {"id": request["id"], "status": "ok", "rows": rows, "total": len(rows), "next": None}
    return json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def session(stream, database):
    connection = connect(database)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with stream, stream.makefile("rb") as lines:
        for line in lines:
            try:
                stream.sendall(answer(connection, line))
            except ConnectionError:
                return


def main():
    database = sys.argv[1]
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"ready 127.0.0.1:{listener.getsockname()[1]}", flush=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=session, args=(stream, database), daemon=True).start()


if __name__ == "__main__":
    main()
