"use strict";
(() => {
  const shape = (svg, name, attributes) => {
    const made = document.createElementNS(svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const bounded = (value, low, high) => Math.min(high, Math.max(low, value));

  // The 3D views: a camera `distance` mm away that looks at a point above the middle of the floor z = 0, z up.
  function orbit(svg) {
    const scene = JSON.parse(svg.dataset.scene);
    const start = { azimuth: scene.azimuth, elevation: scene.elevation, zoom: 1 };
    let view = { ...start };
    const pointers = new Map();

    function seen([x, y, z]) {
      const [ca, sa] = [Math.cos(view.azimuth), Math.sin(view.azimuth)];
      const [ce, se] = [Math.cos(view.elevation), Math.sin(view.elevation)];
      const [away, up] = [x * ca + y * sa, z - scene.height];
      const depth = scene.distance + away * ce - up * se;
      const scale = (scene.focal * view.zoom) / depth;
      return [scene.size / 2 + scale * (x * sa - y * ca), scene.size / 2 - scale * (away * se + up * ce), depth];
    }
    const depth = ([, [a, b]]) => a[2] + b[2];

    function draw() {
      const lines = scene.floor.map((ends) => ["floor", ends.map(seen)]);
      for (const pose of scene.poses) {
        const places = pose.points.map(seen);
        const bones = scene.bones.map(([a, b, side]) => [`${pose.kind} ${side}`, [places[a], places[b]]]);
        lines.push(...bones.sort((one, other) => depth(other) - depth(one)));
      }
      const shapes = lines.map(([kind, [a, b]]) =>
        shape(svg, "line", { class: kind, x1: a[0].toFixed(1), y1: a[1].toFixed(1), x2: b[0].toFixed(1), y2: b[1].toFixed(1) })
      );
      svg.querySelector("g").replaceChildren(...shapes);
    }

    function turn(sideways, upwards) {
      view.azimuth -= sideways;
      view.elevation = bounded(view.elevation + upwards, -0.2, Math.PI / 2);
      draw();
    }
    function zoom(factor) {
      view.zoom = bounded(view.zoom * factor, 0.4, 6);
      draw();
    }
    function reset() {
      view = { ...start };
      draw();
    }
    function spread() {
      const [a, b] = [...pointers.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    }

    svg.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      svg.setPointerCapture(event.pointerId);
      svg.focus({ preventScroll: true });
    });
    svg.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const apart = pointers.size === 2 ? spread() : 0;
      pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      if (pointers.size === 2) zoom(spread() / Math.max(apart, 1));
      else turn((event.clientX - before.x) * 0.01, (event.clientY - before.y) * 0.01);
    });
    for (const end of ["pointerup", "pointercancel"]) {
      svg.addEventListener(end, (event) => pointers.delete(event.pointerId));
    }
    svg.addEventListener("dblclick", reset);
    svg.addEventListener(
      "wheel",
      (event) => {
        if (document.activeElement !== svg) return; // the page scrolls past a view that nobody has clicked
        event.preventDefault();
        zoom(Math.exp(-event.deltaY * 0.0015));
      },
      { passive: false }
    );
    const keys = {
      ArrowLeft: () => turn(-0.1, 0),
      ArrowRight: () => turn(0.1, 0),
      ArrowUp: () => turn(0, 0.1),
      ArrowDown: () => turn(0, -0.1),
      "+": () => zoom(1.1),
      "-": () => zoom(1 / 1.1),
      0: reset,
    };
    svg.addEventListener("keydown", (event) => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  // The error over time of the chosen sequence. Errors come as tenths of a millimetre, by bins of frames.
  function timeline(section) {
    const data = JSON.parse(section.querySelector("script").textContent);
    const choice = section.querySelector("select");
    const svg = section.querySelector("svg.chart");
    const readout = section.querySelector("output");
    const cursor = svg.querySelector("[data-cursor]");
    const [left, top, width, height] = svg.dataset.box.split(" ").map(Number);
    const binAt = (values, fraction) => bounded(Math.floor(fraction * values.length), 0, values.length - 1);
    const sequence = () => data.sequences[choice.selectedIndex];

    function draw() {
      const { frames, runs } = sequence();
      const ceiling = quarterable(Math.max(...runs.flatMap((run) => run.worst)) / 10);
      for (const label of svg.querySelectorAll("[data-y]")) label.textContent = +((ceiling * label.dataset.y) / 4).toFixed(2);
      for (const label of svg.querySelectorAll("[data-x]")) label.textContent = frames[binAt(frames, label.dataset.x / 4)];
      for (const curve of svg.querySelectorAll("[data-run]")) {
        const values = runs[curve.dataset.run][curve.classList.contains("worst") ? "worst" : "mean"];
        const points = values.map((value, bin) => {
          const x = left + (width * (bin + 0.5)) / values.length;
          return `${x.toFixed(1)},${(top + height * (1 - value / 10 / ceiling)).toFixed(1)}`;
        });
        curve.setAttribute("points", points.join(" "));
      }
      say(null);
    }

    // The next number whose quarter is round.
    function quarterable(largest) {
      const quarter = Math.max(largest / 4, 0.01);
      const size = 10 ** Math.floor(Math.log10(quarter));
      const factors = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
      return 4 * factors.map((factor) => size * factor).find((number) => number >= quarter * (1 - 1e-9));
    }

    function say(fraction) {
      cursor.classList.toggle("shown", fraction !== null);
      if (fraction === null) {
        readout.textContent = "Point at the chart for the numbers.";
        return;
      }
      const { frames, runs } = sequence();
      const bin = binAt(frames, fraction);
      const x = left + (width * (bin + 0.5)) / frames.length;
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      const words = runs.map(({ mean, worst }, run) => {
        const name = data.runs.length > 1 ? `${data.runs[run]}: ` : "";
        return `${name}mean ${(mean[bin] / 10).toFixed(1)} mm, worst ${(worst[bin] / 10).toFixed(1)} mm`;
      });
      readout.textContent = `Around frame ${frames[bin]}: ${words.join("; ")}`;
    }

    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      say(bounded((((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width - left) / width, 0, 1));
    });
    svg.addEventListener("pointerleave", () => say(null));
    choice.addEventListener("change", draw);
    for (const button of section.querySelectorAll("button")) {
      button.addEventListener("click", () => {
        const count = choice.options.length;
        choice.selectedIndex = (choice.selectedIndex + Number(button.dataset.step) + count) % count;
        draw();
      });
    }
    draw();
  }

  document.querySelectorAll("svg.orbit").forEach(orbit);
  document.querySelectorAll(".timeline").forEach(timeline);
})();
