// Values of line plots under the pointer: the nearest x, every series there. The plots work without.
for (const group of document.querySelectorAll("svg g.lines")) {
  const svg = group.ownerSVGElement, figure = svg.closest("figure");
  const num = (name) => Number(group.dataset[name]);
  const left = num("left"), top_ = num("top"), width = num("width"), height = num("height");
  const low = num("low"), high = num("high"), percent = group.dataset.percent === "1";
  const series = [...group.querySelectorAll("polyline")].map((line) => ({
    line, name: line.dataset.name,
    x: line.dataset.x.split(" ").map(Number), y: line.dataset.y.split(" ").map(Number),
  }));
  const hair = document.createElementNS("http://www.w3.org/2000/svg", "line");
  hair.setAttribute("class", "hair");
  hair.setAttribute("y1", top_);
  hair.setAttribute("y2", top_ + height);
  hair.style.display = "none";
  svg.append(hair);
  const tip = document.createElement("div");
  tip.className = "tip";
  figure.append(tip);
  const show = (v) => percent ? (100 * v).toFixed(2) + " %" : String(Number(v.toPrecision(5)));
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const at = low + ((event.clientX - box.left) * scale - left) / width * (high - low);
    let nearest = null;
    for (const s of series) for (const x of s.x)
      if (nearest === null || Math.abs(x - at) < Math.abs(nearest - at)) nearest = x;
    if (nearest === null) return;
    const px = left + (nearest - low) / (high - low) * width;
    hair.setAttribute("x1", px);
    hair.setAttribute("x2", px);
    hair.style.display = "";
    tip.replaceChildren(document.createTextNode(
      group.dataset.xName + " " + Number(nearest.toPrecision(5))));
    for (const s of series) {
      let best = 0;
      for (let i = 1; i < s.x.length; i++)
        if (Math.abs(s.x[i] - nearest) < Math.abs(s.x[best] - nearest)) best = i;
      if (!s.x.length) continue;
      const row = document.createElement("div"), key = document.createElement("i");
      key.style.borderColor = getComputedStyle(s.line).stroke;
      row.append(key, s.name + "  " + show(s.y[best]));
      tip.append(row);
    }
    tip.style.display = "block";
    const x = px / scale + svg.offsetLeft + (box.left - figure.getBoundingClientRect().left);
    tip.style.left = Math.min(x + 12, figure.clientWidth - tip.offsetWidth - 4) + "px";
    tip.style.top = "48px";
  });
  svg.addEventListener("pointerleave", () => {
    hair.style.display = tip.style.display = "none";
  });
}
