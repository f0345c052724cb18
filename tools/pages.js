// What tests/pages.py asks of a page of JupyterLab: its cells, its widgets, and when both are done.
window.course = {
  lab: () => window.jupyterapp?.shell?.currentWidget,
  cells: () => course.lab().content.widgets,
  code: () => course.cells().filter((cell) => cell.model.type === "code" && cell.model.sharedModel.source.trim()),
  outputs: (cell) => cell.model.outputs.toJSON(),

  // The page draws its cells one after another, and says "idle" before there is a kernel.
  ready() {
    const session = course.lab()?.sessionContext;
    return Boolean(session?.isReady && session.session?.kernel?.connectionStatus === "connected" && course.attached());
  },
  attached: () => document.querySelectorAll(".jp-Notebook .jp-Cell").length === course.cells().length,

  // --- cells

  // The ids of all that match a selector, in the page or in a cell; what has none gets one.
  named(selector, cell) {
    const place = cell === null ? document : course.cells()[cell].node;
    return [...place.querySelectorAll(selector)].map((node) => (node.id ||= `course-${crypto.randomUUID()}`));
  },
  sources: () => course.cells().map((cell) => (cell.model.type === "code" ? cell.model.sharedModel.source : "")),
  forget() {
    for (const cell of course.code()) cell.model.executionCount = null;
  },
  finished: () => course.code().every((cell) => cell.model.executionCount && cell.model.executionState === "idle")
    || course.code().some(course.failed),
  // Looks at the kinds of outputs alone: to read their pictures takes far longer.
  failed({ model: { outputs } }) {
    for (let i = 0; i < outputs.length; i++) if (outputs.get(i).type === "error") return true;
    return false;
  },
  errors: () => course.code().filter(course.failed).flatMap((cell) => course.outputs(cell)
    .filter((output) => output.output_type === "error")
    .map((output) => `${cell.model.sharedModel.source}\n${output.ename}: ${output.evalue}`)),
  choose(number) {
    const notebook = course.lab().content;
    notebook.mode = "command";
    notebook.deselectAll();
    notebook.activeCellIndex = number;
    notebook.activate();
    return notebook.widgets[number].model.executionCount ?? 0;
  },
  ran(number, before) {
    const model = course.cells()[number].model;
    return (model.executionCount ?? 0) > before && model.executionState === "idle";
  },

  // --- widgets

  // Every output that holds a widget shows one, and nothing is left of "Loading widget..." or of an error in its place.
  drawn() {
    const kind = "application/vnd.jupyter.widget-view+json";
    return course.attached() && course.code().every((cell) => {
      const views = course.outputs(cell).filter((output) => output.data?.[kind]).length;
      const text = [...cell.node.querySelectorAll(".jp-OutputArea-output")].map((node) => node.textContent).join(" ");
      return views === 0 || (cell.node.querySelectorAll(".jp-OutputArea-output > .jupyter-widgets").length >= views
        && !/Loading widget|Error displaying widget/.test(text)
        && [...cell.node.querySelectorAll(".widget-image")].every((image) => image.complete && image.naturalWidth > 0));
    });
  },

  // Note each message to a widget in the kernel until the kernel has done with it.
  watch() {
    const session = course.lab().sessionContext;
    course.waiting = new Set();
    session.session.kernel.anyMessage.connect((_, { direction, msg }) => {
      if (direction === "send" && msg.header.msg_type === "comm_msg") course.waiting.add(msg.header.msg_id);
    });
    // This signal comes after the message has been handled, so whatever a widget sends in return is noted by then.
    session.iopubMessage.connect((_, msg) => {
      if (msg.header.msg_type === "status" && msg.content.execution_state === "idle") {
        course.waiting.delete(msg.parent_header.msg_id);
      }
    });
  },
  frames: (count) => new Promise((done) => {
    const step = (left) => (left ? requestAnimationFrame(() => step(left - 1)) : done(true));
    step(count);
  }),
  // Wait until the kernel has done with all that widgets told it; tell whether it has.
  async settled(seconds) {
    const end = performance.now() + 1000 * seconds;
    do {
      await course.frames(2);
    } while (course.waiting.size && performance.now() < end);
    // A panel sends its picture after the kernel has said that it is done; an answer to a later question comes later.
    await course.lab().sessionContext.session.kernel.requestKernelInfo();
    await course.frames(2);
    return course.waiting.size === 0;
  },

  image: (panel) => panel.querySelector("img.course-picture"),
  // A picture's address is given up when the next one comes: then look again.
  async picture(panel) {
    for (let attempt = 0; ; attempt++) {
      try {
        const image = course.image(panel);
        await image.decode();
        const bytes = await (await fetch(image.src)).arrayBuffer();
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        return [...digest.slice(0, 6)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      } catch (error) {
        if (attempt === 50) throw error;
        await course.frames(3);
      }
    }
  },
  // Note the milliseconds from each key in a panel to the frame that shows its new picture.
  time(panel) {
    let pressed = null;
    course.times = [];
    panel.addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
    panel.addEventListener("load", async (event) => {
      if (pressed === null || event.target !== course.image(panel)) return;
      const begin = pressed;
      pressed = null;
      await course.frames(1);
      await new Promise((painted) => setTimeout(painted));  // what a frame asks for comes after it is painted
      course.times.push(performance.now() - begin);
    }, true);
  },
  // Count the pictures that a panel shows from now on.
  count(panel) {
    course.shown = 0;
    panel.addEventListener("load", course.another, true);
  },
  another(event) {
    course.shown += event.target === course.image(event.currentTarget);
  },
  maker(panel) {
    const cell = course.cells().find((each) => each.node.contains(panel));
    return cell.model.sharedModel.source.trim().split("\n").at(-1);
  },

  // --- controls

  kinds: {
    ".widget-slider [role=slider]": "slider",
    ".widget-dropdown select": "list",
    ".widget-text input[type=number]": "field",
    ".widget-checkbox input": "box",
    ".widget-radio input": "radio",
    "button.widget-upload": "upload",
    "button.jupyter-button": "button",
  },
  text: (node) => node.textContent.replace(/\s+/g, " ").trim(),
  frame: (control) => (control.matches("button") ? control : control.closest(".widget-inline-hbox")),
  label(control) {
    if (control.matches("button")) return course.text(control);
    if (control.type === "radio") return course.text(control.closest("label"));
    const frame = course.frame(control);
    if (!frame) return "";
    const labels = [...frame.querySelectorAll("label")].filter((label) => label.style.display !== "none");
    return labels.map(course.text).join(" ");
  },
  controls: (panel, focus) => [...panel.querySelectorAll(focus)].map((control) => [
    Object.entries(course.kinds).find(([selector]) => control.matches(selector))?.[1] ?? control.outerHTML,
    course.label(control),
  ]),
  focused: (panel) => (panel.contains(document.activeElement) ? course.label(document.activeElement) : ""),
  enabled: (control) => !control.disabled && !control.closest("[disabled], .noUi-target[disabled]"),
  value(control) {
    if (control.matches("[role=slider]")) return course.text(course.frame(control).querySelector(".widget-readout"));
    if (control.matches("select")) return [...control.selectedOptions].map(course.text).join();
    return ["checkbox", "radio"].includes(control.type) ? String(control.checked) : control.value;
  },

  // --- looks

  cutOff(panel) {
    const found = [];
    const edge = panel.getBoundingClientRect();
    const say = (node, what) => found.push(`${course.text(node) || node.value || node.className}: ${what}`);
    const seen = (node) => node.getClientRects().length > 0;
    const inside = (node) => {
      const box = node.getBoundingClientRect();
      // 3 px of a box are nothing: ipywidgets puts a margin of 2 px around each.
      if (box.right > edge.right + 3 || box.left < edge.left - 3) say(node, "beyond the panel's edge");
    };
    // A picture is as large as its words need; its frame scrolls where the window is smaller.
    const kinds = "label, button, .widget-readout, .widget-html-content, .course-slice";
    for (const node of panel.querySelectorAll(kinds)) {
      if (!seen(node)) continue;
      inside(node);
      const scrolls = node.matches(".course-slice");
      if (!scrolls && node.scrollWidth > node.clientWidth + 1) {
        say(node, `needs ${node.scrollWidth} px, has ${node.clientWidth}`);
      }
    }
    for (const image of panel.querySelectorAll(".course-slice img")) {
      const share = image.getBoundingClientRect().width / parseFloat(image.closest(".course-frame").style.width);
      if (seen(image) && share < 0.67) say(image, `is shown at ${share.toFixed(2)} of its size`);
    }
    const pen = document.createElement("canvas").getContext("2d");
    for (const list of panel.querySelectorAll("select")) {
      inside(list);
      const look = getComputedStyle(list);
      pen.font = look.font;
      const room = list.clientWidth - parseFloat(look.paddingLeft) - parseFloat(look.paddingRight);
      for (const option of list.options) {
        const width = Math.ceil(pen.measureText(course.text(option)).width);
        if (width > room) found.push(`${course.text(option)}: needs ${width} px, has ${Math.floor(room)}`);
      }
    }
    for (const field of panel.querySelectorAll("input[type=number]")) {
      inside(field);
      if (field.scrollWidth > field.clientWidth + 1) say(field, "its number is cut off");
    }
    return found;
  },
  // Scroll to the top, or down by a window; tell whether there is more below.
  async scroll(windows) {
    const place = document.querySelector(".jp-WindowedPanel-outer");
    place.scrollTop = windows ? place.scrollTop + windows * place.clientHeight : 0;
    await course.frames(10);
    return place.scrollTop + place.clientHeight < place.scrollHeight - 2;
  },
  async theme(dark) {
    const name = dark ? "JupyterLab Dark" : "JupyterLab Light";
    await window.jupyterapp.commands.execute("apputils:change-theme", { theme: name });
  },
  async wide() {
    window.jupyterapp.shell.collapseLeft();
    window.jupyterapp.shell.collapseRight();
    for (let before; before !== course.lab().node.clientWidth; await course.frames(5)) before = course.lab().node.clientWidth;
  },
};
