#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws a real terminal session as SVG: runs a command in a pseudo-terminal and keeps what a person
sees, with one frame of the progress bar.

usage: make_session.py OUT.svg COMMAND...      (the picture in README: scripts/session.svg)
"""
import html
import os
import pty
import re
import sys

COLUMNS = 190


def run(command):
    """-> bytes the command wrote to its terminal"""
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", COLUMNS=str(COLUMNS))
        os.execvp(command[0], command)
    out = b""
    while True:
        try:
            piece = os.read(fd, 65536)
        except OSError:
            break
        if not piece:
            break
        out += piece
    os.waitpid(pid, 0)
    return out


def screen(raw):
    """-> lines that stay, and the widest progress bar seen"""
    lines, bar = [], ""
    for line in raw.decode(errors="replace").replace("\r\n", "\n").split("\n"):
        frames = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", f) for f in line.split("\r")]
        for frame in frames:
            if "ETA" in frame and "=" in frame:
                bar = frame if not bar or frame.count("=") < 12 else bar
        lines.append(next((f for f in reversed(frames) if f.strip()), ""))
    return [line for line in lines if line.strip()], bar


def main():
    target, command = sys.argv[1], sys.argv[2:]
    lines, bar = screen(run(command))
    epochs = [i for i, line in enumerate(lines) if line.startswith("epoch ")]
    shown = lines[:]
    if len(epochs) > 6:
        middle = epochs[3]
        shown = lines[:middle] + [bar, "..."] + lines[epochs[-2]:]
    shown = ["$ " + " ".join([os.path.basename(command[0])] + command[1:])] + shown
    wrapped = [line[i:i + COLUMNS] for line in shown
               for i in range(0, max(len(line), 1), COLUMNS)]
    height = 17 * len(wrapped) + 24
    with open(target, "w") as out:
        out.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{COLUMNS * 8 + 24}" '
                  f'height="{height}" font-family="monospace" font-size="13">\n'
                  '<rect width="100%" height="100%" rx="6" fill="#1d2021"/>\n')
        for i, line in enumerate(wrapped):
            colour = "#8ec07c" if line.startswith(("$", "epoch", "done")) else "#ebdbb2"
            out.write(f'<text x="12" y="{17 * i + 24}" fill="{colour}" xml:space="preserve">'
                      f'{html.escape(line)}</text>\n')
        out.write("</svg>\n")


if __name__ == "__main__":
    main()
