#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is a report's page whole, closed to the network, and fit for a screen reader?
usage: check_page.py PAGE.html [KIND=COUNT ...]   KIND: img svg section li"""
import collections
import html.parser
import re
import sys
import xml.etree.ElementTree

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.problems, self.ids = [], [], set()
        self.count, self.last_heading = collections.Counter(), 0
        self.tables = []

    def problem(self, text):
        self.problems.append(f"line {self.getpos()[0]}: {text}")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.count[tag] += 1
        if "id" in attributes:
            if attributes["id"] in self.ids:
                self.problem(f"two ids {attributes['id']}")
            self.ids.add(attributes["id"])
        if tag == "img" and not attributes.get("alt"):
            self.problem("a picture without a text")
        if tag == "svg" and not (attributes.get("role") == "img" and
                                 attributes.get("aria-labelledby")):
            self.problem("a plot without a name")
        if tag == "table":
            self.tables.append(False)
        if tag == "caption" and self.tables:
            self.tables[-1] = True
        if tag == "th" and not attributes.get("scope"):
            self.problem("a head of a table without a scope")
        if re.fullmatch("h[1-6]", tag):
            level = int(tag[1])
            if level > self.last_heading + 1:
                self.problem(f"<{tag}> after <h{self.last_heading}>")
            self.last_heading = level
        for name in ("src", "href"):
            where = attributes.get(name, "")
            if where and not where.startswith(("data:", "#")):
                self.problem(f"{name} leads to {where[:60]}")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problem(f"</{tag}> closes something else")
        if tag == "table" and not self.tables.pop():
            self.problem("a table without a caption")


def main():
    text = open(sys.argv[1], encoding="utf-8").read()
    page = Page()
    page.feed(text)
    if page.open:
        page.problem(f"never closed: {page.open}")
    if 'lang="en"' not in text or "viewport" not in text:
        page.problem("no language or viewport")
    if re.search(r"url\((?!#)|@import|fetch\(|XMLHttp", text):
        page.problem("asks the network")
    for part in ("prefers-color-scheme: dark", "@media print"):
        if part not in text:
            page.problem(f"no {part}")
    for svg in re.findall(r"<svg.*?</svg>", text, re.S):
        root = xml.etree.ElementTree.fromstring(svg)
        space = "{http://www.w3.org/2000/svg}"
        if not (root.findtext(space + "title") and root.findtext(space + "desc")):
            page.problem("a plot without title and description")
    for want in sys.argv[2:]:
        kind, count = want.split("=")
        if page.count[kind] != int(count):
            page.problem(f"{page.count[kind]} of <{kind}>, expected {count}")
    for problem in page.problems:
        print(f"{sys.argv[1]}: {problem}")
    return bool(page.problems)


sys.exit(main())
