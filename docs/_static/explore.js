// Explorations that need no kernel: the same arithmetic as course_utils.widgets, in the reader's browser.
// Each takes the place of its picture, which stays where a script fails. tests/test_site.py compares the numbers.
"use strict";
window.explore = (() => {
  // --- words and numbers as Python writes them

  const minus = (text) => text.replaceAll("-", "−");
  function general(value, digits) { // Python's ".4g"
    if (!value || !Number.isFinite(value)) return String(value || 0);
    const [, power] = value.toExponential(digits - 1).split("e");
    if (power < -4 || power >= digits) {
      const [head, tail] = value.toExponential(digits - 1).split("e");
      const short = head.includes(".") ? head.replace(/\.?0+$/, "") : head;
      return `${short}e${tail[0]}${tail.slice(1).padStart(2, "0")}`;
    }
    const text = value.toFixed(digits - 1 - power);
    return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  }
  function whole(value) { // half to even, as Python rounds
    const low = Math.floor(value), rest = value - low;
    return rest > 0.5 || (rest === 0.5 && low % 2) ? low + 1 : low;
  }
  const percent = (share) => `${whole(100 * share)} %`;
  const part = (share) => (share > 0 && share <= 0.005 ? "<1 %" : percent(share));
  const float = Math.fround; // PyTorch's float32, so that no pixel at the edge of the range is counted otherwise
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  // --- pictures

  const loaded = new Map();
  function pixels(name) { // one number a channel, from 0 to 1
    if (!loaded.has(name)) {
      loaded.set(name, (async () => {
        const image = new Image();
        image.src = exploreData.photographs[name];
        await image.decode();
        const { width, height } = image, pen = canvasOf(width, height).getContext("2d", { willReadFrequently: true });
        pen.drawImage(image, 0, 0);
        const { data } = pen.getImageData(0, 0, width, height), size = width * height;
        const channels = [0, 1, 2].map((channel) => Float32Array.from({ length: size }, (_, i) => data[4 * i + channel] / 255));
        return { width, height, channels };
      })());
    }
    return loaded.get(name);
  }
  function canvasOf(width, height) {
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    return canvas;
  }
  function paint(canvas, colour) { // colour(i) gives red, green and blue from 0 to 255
    const pen = canvas.getContext("2d"), image = pen.createImageData(canvas.width, canvas.height);
    for (let i = 0; i < canvas.width * canvas.height; i++) {
      const [red, green, blue] = colour(i);
      image.data.set([red, green, blue, 255], 4 * i);
    }
    pen.putImageData(image, 0, 0);
  }

  // --- the channel mixer (course_utils.widgets.lesson1)

  const mixer = {
    title: "Channel mixer",
    photograph: "coffee",
    controls: [
      ...["red", "green", "blue"].map((name) => ({ name, label: `${name} ×`, value: 1, min: 0, max: 3, step: 0.05, digits: 2 })),
      { name: "brightness", label: "brightness +", value: 0, min: -0.5, max: 0.5, step: 0.05, digits: 2 },
    ],
    compute(settings, { width, height, channels }) {
      const gains = [settings.red, settings.green, settings.blue].map(float), more = float(settings.brightness);
      let cut = 0, black = 0;
      const after = channels.map((channel, which) => channel.map((value) => {
        const raw = float(float(value * gains[which]) + more);
        cut += raw < 0 || raw > 1;
        return clamp(raw, 0, 1);
      }));
      for (let i = 0; i < width * height; i++) black += !(after[0][i] || after[1][i] || after[2][i]);
      return { after, cut: cut / (3 * width * height), black: black / (width * height) };
    },
    say: ({ cut, black }) => `${part(cut)} of the numbers left the range from 0 to 1 and were cut off; ${part(black)} of the pixels are black.`,
    numbers: ({ after, cut, black }) => [cut, black, ...after.flatMap((channel) => [...sampled(channel)])],
    draw(result, view, { width, height, channels }) {
      const [before, mixed] = pair(view, "before", "mixed", width, height);
      if (before) paint(before, (i) => channels.map((channel) => 255 * channel[i]));
      paint(mixed, (i) => result.after.map((channel) => 255 * channel[i]));
    },
  };
  const sampled = (values) => values.filter((_, i) => i % 997 === 0);
  function pair(view, left, right, width, height) { // two pictures with titles; the first is new only once
    const old = view.querySelectorAll("canvas");
    if (old.length) {
      view.querySelectorAll("figcaption")[1].textContent = right;
      if (old[1].width !== width) Object.assign(old[1], { width, height });
      return [null, old[1]];
    }
    return [left, right].map((title) => {
      const figure = document.createElement("figure"), words = document.createElement("figcaption"), canvas = canvasOf(width, height);
      words.textContent = title;
      canvas.setAttribute("aria-hidden", "true"); // the sentence below says what is seen
      figure.append(words, canvas);
      view.append(figure);
      return canvas;
    });
  }

  // --- the kernel editor (course_utils.widgets.lesson2)

  const PLACES = ["top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom", "bottom right"];
  const sum = (numbers) => numbers.reduce((total, value) => float(total + value), 0);
  function normalised(kernel) {
    const total = sum(kernel), size = sum(kernel.map(Math.abs)); // both as float32
    if (Math.abs(total) > 1e-6 * size) return kernel.map((value) => float(value / total));
    return size > 0 ? kernel.map((value) => float(value / (size / 2))) : kernel;
  }
  const nameOf = (numbers) => Object.keys(exploreData.kernels).find((name) => exploreData.kernels[name].numbers
    .every((value, i) => Math.abs(value - numbers[i]) <= 1e-8 + 1e-5 * Math.abs(numbers[i]))) ?? "your own";
  const short = (value) => minus(general(Math.round(value * 1000) / 1000, 6));
  const editor = {
    title: "Kernel editor",
    photograph: "cat",
    controls: [
      { name: "kernel", label: "kernel", value: "vertical edges", options: () => [...Object.keys(exploreData.kernels), "your own"] },
      { name: "normalise", label: "normalise: answers in the range of the picture", value: false },
      ...PLACES.map((label, i) => ({ name: `n${i}`, label, value: [-1, 0, 1][i % 3], field: true })),
    ],
    moved(name, settings) { // a preset sets the nine numbers; nine numbers may be a preset
      const { kernels } = exploreData;
      if (name === "kernel" && kernels[settings.kernel]) {
        kernels[settings.kernel].numbers.forEach((value, i) => { settings[`n${i}`] = value; });
        settings.normalise = kernels[settings.kernel].normalise;
      } else if (name?.startsWith("n") && name !== "normalise") settings.kernel = nameOf(numbersOf(settings));
    },
    compute(settings, { width, height, channels: [red, green, blue] }) {
      const numbers = numbersOf(settings).map(float), kernel = settings.normalise ? normalised(numbers) : numbers;
      const grey = this.grey ??= red.map((value, i) => float(float(float(0.299) * value) + float(float(0.587) * green[i])) + float(float(0.114) * blue[i]));
      const wide = width - 2, high = height - 2, after = new Float32Array(wide * high);
      let lost = 0;
      for (let y = 0; y < high; y++) for (let x = 0; x < wide; x++) {
        let value = 0;
        for (let i = 0; i < 9; i++) value = float(value + float(kernel[i] * grey[(y + (i / 3 | 0)) * width + x + i % 3]));
        after[y * wide + x] = value;
        lost += value < 0 || value > 1;
      }
      const total = sum(kernel), size = sum(kernel.map(Math.abs));
      const signed = size > 0 && (Math.abs(total) < 0.05 * Math.min(size, 1) || Math.abs(total) < 0.0005); // flat areas answer about 0
      const changed = kernel.some((value, i) => value !== numbers[i]);
      return { after, wide, high, grey, kernel, changed, total, signed, lost: lost / after.length, name: nameOf(numbers) };
    },
    say({ name, changed, total, signed, lost }) {
      if (!Number.isFinite(total)) return `${name}: the numbers are too large to be added up; take smaller ones.`;
      const begin = `${name}: ${changed ? "once normalised, " : ""}the numbers sum to ${short(total)}; `;
      if (signed) return `${begin}flat areas answer about 0, shown white.`;
      const rest = lost >= 0.005 ? `; ${percent(lost)} of the answers leave the range from 0 to 1 and are cut off` : "";
      const flat = Math.round(total * 1000) === 1000 ? "flat areas keep their brightness" : `flat areas come out ${short(total)} times as bright`;
      return `${begin}${flat}${rest}.`;
    },
    numbers: ({ after, kernel, lost }) => [lost, ...kernel, ...sampled(after)],
    draw({ after, wide, high, grey, signed, name }, view, { width, height }) {
      const title = signed ? `${name}: blue below 0, red above` : name;
      const [before, answer] = pair(view, "photograph", title, width, height);
      if (before) paint(before, (i) => Array(3).fill(255 * grey[i]));
      if (answer.width !== wide) Object.assign(answer, { width: wide, height: high });
      const colours = exploreData.diverging; // for answers from −½ to ½
      paint(answer, (i) => (signed ? colours[clamp(Math.floor((after[i] + 0.5) * 256), 0, 255)] : Array(3).fill(255 * clamp(after[i], 0, 1))));
    },
  };
  const numbersOf = (settings) => PLACES.map((_, i) => settings[`n${i}`]);

  // --- drawings of lines

  function drawing(view, index, title, { x: [left, right], y: [low, high], xticks, yticks, xlabel, ylabel }) {
    const [wide, tall, west, south, north] = [400, 260, 46, 44, 26];
    const at = (x, y) => [west + (x - left) / (right - left) * (wide - west - 10), north + (high - y) / (high - low) * (tall - south - north)];
    const near = (x, y) => at(x, clamp(y, low - 9 * (high - low), high + 9 * (high - low))); // what is far outside stays drawable
    const parts = [];
    for (const x of xticks) parts.push(`<path class="grid" d="M${at(x, low)}L${at(x, high)}"/><text x="${at(x, low)[0]}" y="${tall - south + 16}" text-anchor="middle">${minus(String(x))}</text>`);
    for (const y of yticks) parts.push(`<path class="grid" d="M${at(left, y)}L${at(right, y)}"/><text x="${west - 6}" y="${at(left, y)[1] + 4}" text-anchor="end">${minus(String(y))}</text>`);
    parts.push(`<text class="title" x="${west}" y="15">${title}</text>`);
    parts.push(`<text x="${(wide + west) / 2}" y="${tall - 6}" text-anchor="middle">${xlabel}</text>`);
    parts.push(`<text transform="translate(11 ${tall / 2}) rotate(-90)" text-anchor="middle">${ylabel}</text>`);
    const id = `explore-clip-${drawing.count = (drawing.count ?? 0) + 1}`, [x0, y0] = at(left, high), [x1, y1] = at(right, low);
    const inside = [];
    const show = () => {
      const clip = `<clipPath id="${id}"><rect x="${x0}" y="${y0 - 4}" width="${x1 - x0}" height="${y1 - y0 + 8}"/></clipPath>`;
      const made = `<svg viewBox="0 0 ${wide} ${tall}" aria-hidden="true">${clip}${parts.join("")}<g clip-path="url(#${id})">${inside.join("")}</g></svg>`;
      if (view.children[index]) view.children[index].outerHTML = made;
      else view.insertAdjacentHTML("beforeend", made);
    };
    const line = (points, kind) => { if (points.length) inside.push(`<path class="${kind}" d="M${points.map(([x, y]) => near(x, y).map((v) => v.toFixed(2))).join("L")}"/>`); };
    const dots = (points, kind, radius) => points.forEach(([x, y]) => { const [cx, cy] = near(x, y); inside.push(`<circle class="${kind}" cx="${cx.toFixed(2)}" cy="${cy.toFixed(2)}" r="${radius}"/>`); });
    return { line, dots, show };
  }
  const along = (left, right, count, height) => Array.from({ length: count + 1 }, (_, i) => left + (right - left) * i / count).map((x) => [x, height(x)]);

  // --- gradient descent on a parabola (course_utils.widgets.lesson1)

  const parabola = (x) => x ** 2 - x - 2;
  const signed = (value) => minus(general(value, 4));
  const descent = {
    title: "Gradient descent on a parabola",
    controls: [
      { name: "rate", label: "learning rate", value: 0.1, min: 0.01, max: 1.2, step: 0.01, digits: 2 },
      { name: "start", label: "start at x", value: 3, min: -3, max: 4, step: 0.5, digits: 1 },
      { name: "steps", label: "steps taken", value: 0, min: 0, max: 30, step: 1, digits: 0 },
    ],
    buttons: {
      "One step": (settings) => { settings.steps = Math.min(30, settings.steps + 1); },
      "Five steps": (settings) => { settings.steps = Math.min(30, settings.steps + 5); },
      "Back to the start": (settings) => { settings.steps = 0; },
    },
    compute({ rate, start, steps }) {
      const places = [start];
      while (places.length <= steps) places.push(places.at(-1) - rate * (2 * places.at(-1) - 1));
      return { rate, places };
    },
    say({ rate, places }) {
      const x = places.at(-1), slope = 2 * x - 1, done = places.length - 1;
      const factor = slope < 0 ? `(${signed(slope)})` : signed(slope);
      return `After ${done} ${done === 1 ? "step" : "steps"} x = ${signed(x)}. The slope here is ${signed(slope)}, so the next step is −${general(rate, 6)} · ${factor} = ${signed(-rate * slope)}.`;
    },
    numbers: ({ places }) => places,
    draw({ rate, places }, view) {
      const walk = places.map((x) => [x, parabola(x)]);
      const valley = drawing(view, 0, "on the parabola", { x: [-4, 5], y: [-4, 18], xticks: [-4, -2, 0, 2, 4], yticks: [0, 5, 10, 15], xlabel: "x", ylabel: "y = x² − x − 2" });
      valley.line(along(-4, 5, 100, parabola), "curve");
      valley.line(walk, "walk");
      valley.dots(walk, "walked", 3.5);
      valley.dots(walk.slice(0, 1), "mark", 5);
      valley.show();
      const course = drawing(view, 1, `distance to ½ in each step: × ${signed(1 - 2 * rate)}`, { x: [-1, 31], y: [-4, 5], xticks: [0, 10, 20, 30], yticks: [-4, -2, 0, 2, 4], xlabel: "step", ylabel: "x" });
      course.line([[-1, 0.5], [31, 0.5]], "curve");
      course.line(places.map((x, i) => [i, x]), "walk");
      course.dots(places.map((x, i) => [i, x]), "walked", 3);
      course.show();
    },
  };

  // --- a valley with a trap (course_utils.widgets.lesson6)

  const TRAP = -1.5, BOTTOM = 2;
  const landscape = (x) => 0.12 * (x - BOTTOM) ** 2 - 0.8 * Math.exp(-(((x - TRAP) / 0.15) ** 2) / 2);
  const slopeAt = (x) => 0.24 * (x - BOTTOM) + 0.8 * (x - TRAP) / 0.15 ** 2 * Math.exp(-(((x - TRAP) / 0.15) ** 2) / 2);
  const rests = (places, valley) => places.slice(-3).every((place) => Math.abs(place - valley) < 0.3) && Math.abs(places.at(-1) - places.at(-2)) < 0.1;
  const valley = {
    title: "A valley with a trap",
    controls: [
      { name: "rate", label: "learning rate", value: 0.03, min: -3, max: 1, step: 0.1, power: true },
      { name: "start", label: "start at x", value: -2.5, min: -4, max: 8, step: 0.5, digits: 1 },
      { name: "steps", label: "steps", value: 60, min: 0, max: 100, step: 1, digits: 0 },
    ],
    compute({ rate, start, steps }) {
      const places = [start];
      for (let step = 0; step < steps && Math.abs(places.at(-1)) <= 1e3; step++) places.push(places.at(-1) - rate * slopeAt(places.at(-1)));
      return { rate, places };
    },
    end({ rate, places }) {
      const x = places.at(-1), last = places.slice(-6);
      if (places.length === 1) return "stands where it starts";
      if (Math.abs(x - BOTTOM) > 12) return "jumped out of the valley";
      if (rests(places, TRAP) && Math.abs(slopeAt(x)) < 0.4) return "stays in the trap";
      if (last.every((place) => Math.abs(place - TRAP) < 0.5) && new Set(last.map((place) => slopeAt(place) > 0)).size === 2) return "jumps back and forth in the trap";
      if (rests(places, BOTTOM)) return "reached the bottom";
      return rate > 4 && last.length > 3 ? "jumps back and forth" : "is still on its way";
    },
    say(result) {
      const steps = result.places.length - 1;
      return `After ${steps} step${steps === 1 ? "" : "s"} at rate ${general(result.rate, 2)} the walk is at x = ${minus(general(result.places.at(-1), 3))}: it ${this.end(result)}.`;
    },
    numbers: ({ places }) => places,
    draw(result, view) {
      const { places } = result, walk = places.map((x) => [x, landscape(x)]);
      const plot = drawing(view, 0, `It ${this.end(result)}`, { x: [-4.5, 8.5], y: [-0.4, 5.2], xticks: [-4, -2, 0, 2, 4, 6, 8], yticks: [0, 1, 2, 3, 4, 5], xlabel: "x", ylabel: "height" });
      plot.line(along(-4.5, 8.5, 500, landscape), "curve");
      plot.line(walk, "walk faint");
      plot.dots(walk, "walked", 2.5);
      plot.dots(walk.slice(0, 1), "mark", 5);
      plot.dots(walk.slice(-1), "end", 5);
      plot.show();
    },
  };

  // --- a card with controls

  const all = { mixer, editor, descent, valley };
  const shownValue = (control, value) => (control.power ? general(value, 2) : minus(value.toFixed(control.digits)));
  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  let cards = 0;
  async function build(place, name) {
    const exploration = all[name], picture = exploration.photograph && await pixels(exploration.photograph);
    const first = Object.fromEntries(exploration.controls.map(({ name, value }) => [name, value])), settings = { ...first };
    const card = make("div", { class: `explore explore-${name}`, role: "group", "aria-label": exploration.title });
    const reset = make("button", { type: "button" }, "Reset"), view = make("div", { class: "explore-view" });
    const sentence = make("p", { class: "explore-sentence", role: "status" }), grid = make("div", { class: "explore-controls" });
    const square = make("div", { class: "explore-square", role: "group", "aria-label": "nine numbers" });
    const inputs = {}, id = `explore-${++cards}`;
    for (const control of exploration.controls) {
      const own = `${id}-${control.name}`, label = make("label", { for: own }, control.label);
      let input, row;
      if (control.options) {
        input = make("select", { id: own }, ...control.options().map((option) => make("option", {}, option)));
        row = make("div", { class: "explore-row" }, label, input);
      } else if (typeof control.value === "boolean") {
        input = make("input", { id: own, type: "checkbox" });
        row = make("div", { class: "explore-tick" }, input, label);
      } else if (control.field) {
        input = make("input", { id: own, type: "number", step: "1", "aria-label": control.label });
        square.append(input);
      } else {
        input = make("input", { id: own, type: "range", min: control.min, max: control.max, step: control.step });
        row = make("div", { class: "explore-row" }, label, input, make("span", { class: "explore-value", "aria-hidden": "true" }));
      }
      if (row) grid.append(row);
      inputs[control.name] = input;
      input.addEventListener("input", () => {
        const value = input.type === "checkbox" ? input.checked : input.tagName === "SELECT" ? input.value
          : control.power ? 10 ** Number(input.value) : Number(input.value);
        if (control.field && !Number.isFinite(input.valueAsNumber)) return; // half typed
        settings[control.name] = value;
        exploration.moved?.(control.name, settings);
        refresh(input);
      });
    }
    function refresh(source) {
      for (const control of exploration.controls) {
        const input = inputs[control.name], value = settings[control.name];
        if (input.type === "checkbox") input.checked = value;
        else if (input !== source) input.value = control.power ? Math.log10(value).toFixed(1) : value;
        const shown = input.nextElementSibling;
        if (shown?.className === "explore-value") {
          shown.textContent = shownValue(control, value);
          input.setAttribute("aria-valuetext", shown.textContent);
        }
      }
      const result = exploration.compute(settings, picture);
      exploration.draw(result, view, picture);
      sentence.textContent = exploration.say(result);
    }
    reset.addEventListener("click", () => { Object.assign(settings, first); refresh(); });
    const buttons = Object.entries(exploration.buttons ?? {}).map(([label, act]) => {
      const button = make("button", { type: "button" }, label);
      button.addEventListener("click", () => { act(settings); refresh(); });
      return button;
    });
    if (buttons.length) grid.append(make("div", { class: "explore-buttons" }, ...buttons));
    const panel = make("div", { class: "explore-panel" }, grid);
    if (square.children.length) panel.append(square);
    card.append(make("div", { class: "explore-head" }, make("strong", {}, exploration.title), reset), panel, view, sentence);
    refresh();
    place.replaceChildren(card);
  }
  for (const place of document.querySelectorAll("[data-explore]")) build(place, place.dataset.explore).catch(console.warn);

  return {
    // What a test asks for: numbers and sentence for some settings.
    async run(name, settings) {
      const exploration = all[name], picture = exploration.photograph && await pixels(exploration.photograph);
      const result = exploration.compute(settings, picture);
      return { numbers: [...exploration.numbers(result)], sentence: exploration.say(result) };
    },
  };
})();
