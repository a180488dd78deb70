// The interactive view: two meshes side by side, one camera for both. WebGL 2, no library.
// Data: #viewer-data, written by dvr_cli/reporting (viewer_meshes.py says how meshes are packed).
// Space: (world - centre) / radius; the camera orbits a target around the axis that is up in the photographs.
"use strict";
(() => {
  const root = document.getElementById("viewer");
  const holder = document.getElementById("viewer-data");
  if (!root || !holder) return;
  const data = JSON.parse(holder.textContent);
  const status = root.querySelector("[data-status]");
  const panes = [];
  const geometry = new Map();
  const FIELD_OF_VIEW = (32 * Math.PI) / 180;
  const MODES = { shaded: 0, colour: 1, normals: 2, error: 3 };

  // ---- vectors -------------------------------------------------------------------------------------------------------
  const add = (a, b, s = 1) => [a[0] + s * b[0], a[1] + s * b[1], a[2] + s * b[2]];
  const scaled = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const unit = (a) => scaled(a, 1 / (Math.hypot(...a) || 1));
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // ---- camera --------------------------------------------------------------------------------------------------------
  const up = unit(data.up);
  const sideways = unit(cross(up, Math.abs(up[0]) < 0.8 ? [1, 0, 0] : [0, 1, 0]));
  const across = cross(up, sideways);
  const camera = { target: [0, 0, 0], distance: 4, yaw: 0, pitch: 0 };

  function basis() {
    const level = add(scaled(sideways, Math.cos(camera.yaw)), across, Math.sin(camera.yaw));
    const towards = add(scaled(level, Math.cos(camera.pitch)), up, Math.sin(camera.pitch));
    const forward = scaled(towards, -1);
    const right = unit(cross(forward, up));
    return { eye: add(camera.target, towards, camera.distance), forward, right, above: cross(right, forward) };
  }

  function lookFrom(index) {
    const from = data.cameras[index];
    const towards = from ? unit(from.position) : unit(add(sideways, up, 0.3));
    camera.target = [0, 0, 0];
    camera.distance = 1.1 / Math.sin(FIELD_OF_VIEW / 2);
    camera.pitch = Math.asin(clamp(dot(towards, up), -0.999, 0.999));
    camera.yaw = Math.atan2(dot(towards, across), dot(towards, sideways));
    redraw();
  }

  function turn(dx, dy) {
    camera.yaw -= dx;
    camera.pitch = clamp(camera.pitch + dy, -1.55, 1.55);
    redraw();
  }

  function pan(dx, dy) {
    const { right, above } = basis();
    const size = 2 * camera.distance * Math.tan(FIELD_OF_VIEW / 2);
    camera.target = add(add(camera.target, right, -dx * size), above, dy * size);
    redraw();
  }

  function zoom(factor) {
    camera.distance = clamp(camera.distance * factor, 0.05, 60);
    redraw();
  }

  function viewProjection(view, aspect) {
    const { eye, forward, right, above } = view;
    // A tall window shows the same width as a square one.
    const focal = Math.min(1, aspect) / Math.tan(FIELD_OF_VIEW / 2);
    const near = camera.distance / 50, far = camera.distance + 40;
    const depth = (far + near) / (near - far), shift = (2 * far * near) / (near - far);
    const rows = [
      [...scaled(right, focal / aspect), -dot(right, eye) * focal / aspect],
      [...scaled(above, focal), -dot(above, eye) * focal],
      [...scaled(forward, -depth), dot(forward, eye) * depth + shift],
      [...forward, -dot(forward, eye)],
    ];
    return new Float32Array([0, 1, 2, 3].flatMap((column) => rows.map((row) => row[column])));
  }

  // ---- meshes --------------------------------------------------------------------------------------------------------
  async function inflate(text) {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }

  // Differences of neighbours, channel by channel -> interleaved values; typed arrays wrap around by themselves.
  async function channels(text, Type, count, width) {
    const differences = new Type(await inflate(text));
    const values = new Type(count * width);
    for (let channel = 0; channel < width; channel++) {
      const sum = new Type(1);
      for (let index = 0; index < count; index++) {
        sum[0] += differences[channel * count + index];
        values[index * width + channel] = sum[0];
      }
    }
    return values;
  }

  async function corners(mesh) {
    const Type = mesh.index_bits === 32 ? Uint32Array : Uint16Array;
    const stored = new Type(await inflate(mesh.indices));
    const values = new Type(3 * mesh.faces);
    const first = new Type(1);
    for (let face = 0; face < mesh.faces; face++) {
      first[0] += stored[face];
      values[3 * face] = first[0];
      values[3 * face + 1] = first[0] + stored[mesh.faces + face];
      values[3 * face + 2] = first[0] + stored[2 * mesh.faces + face];
    }
    return values;
  }

  async function decoded(index) {
    const mesh = data.meshes[index];
    const [indices, positions, normals, colours, errors] = await Promise.all([
      corners(mesh),
      channels(mesh.positions, Uint16Array, mesh.vertices, 3),
      channels(mesh.normals, Uint8Array, mesh.vertices, 3),
      mesh.colours ? channels(mesh.colours, Uint8Array, mesh.vertices, 3) : null,
      mesh.errors ? channels(mesh.errors, Uint8Array, mesh.vertices, 1) : null,
    ]);
    return { mesh, indices, positions, normals, colours, errors };
  }

  function load(index) {
    if (!geometry.has(index)) geometry.set(index, decoded(index));
    return geometry.get(index);
  }

  // ---- drawing -------------------------------------------------------------------------------------------------------
  const VERTEX = `#version 300 es
    in vec3 position; in vec3 normal; in vec3 colour; in float error;
    uniform mat4 matrix; uniform vec3 low, size;
    out vec3 direction; out vec3 paint; out float wrong;
    void main() {
      direction = normal; paint = colour; wrong = error;
      gl_Position = matrix * vec4(low + size * position, 1.0);
    }`;
  const FRAGMENT = `#version 300 es
    precision highp float;
    in vec3 direction; in vec3 paint; in float wrong;
    uniform vec3 right, above, forward; uniform int mode; uniform sampler2D scale;
    out vec4 result;
    void main() {
      vec3 n = normalize(direction + 1e-6);
      if (!gl_FrontFacing) n = -n;
      float head = clamp(-dot(n, forward), 0.0, 1.0);
      vec3 key = normalize(-0.45 * right + 0.70 * above - 0.55 * forward);
      float soft = clamp(0.3 + 0.7 * dot(n, key), 0.0, 1.0);
      vec3 shown = vec3(0.80, 0.78, 0.75) * (0.12 + 0.38 * head + 0.62 * soft);
      if (mode == 1) shown = paint;
      if (mode == 2) shown = 0.5 + 0.5 * n;
      if (mode == 3) shown = texture(scale, vec2(wrong * 255.0 / 256.0 + 0.5 / 256.0, 0.5)).rgb * (0.88 + 0.12 * head);
      if (!gl_FrontFacing && mode != 2) shown *= vec3(0.50, 0.53, 0.60);
      result = vec4(shown, 1.0);
    }`;

  function compiled(gl) {
    const program = gl.createProgram();
    for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
      gl.attachShader(program, shader);
    }
    ["position", "normal", "colour", "error"].forEach((name, place) => gl.bindAttribLocation(program, place, name));
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    return program;
  }

  function errorScale(gl) {
    const colours = Uint8Array.from(atob(data.scale), (character) => character.charCodeAt(0));
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, colours);
    for (const [key, value] of [
      [gl.TEXTURE_MIN_FILTER, gl.LINEAR], [gl.TEXTURE_MAG_FILTER, gl.LINEAR],
      [gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE], [gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE],
    ]) gl.texParameteri(gl.TEXTURE_2D, key, value);
  }

  function prepare(pane) {
    const gl = pane.canvas.getContext("webgl2", { antialias: true, preserveDrawingBuffer: true });
    if (!gl) return false;
    pane.gl = gl;
    pane.program = compiled(gl);
    pane.uniforms = Object.fromEntries(
      ["matrix", "low", "size", "right", "above", "forward", "mode"].map((n) => [n, gl.getUniformLocation(pane.program, n)]));
    pane.buffers = [0, 1, 2, 3, 4].map(() => gl.createBuffer());
    gl.useProgram(pane.program);
    gl.enable(gl.DEPTH_TEST);
    errorScale(gl);
    return true;
  }

  function upload(pane, shape) {
    const gl = pane.gl;
    const attributes = [
      [shape.positions, 3, gl.UNSIGNED_SHORT, 6], [shape.normals, 3, gl.BYTE, 3],
      [shape.colours, 3, gl.UNSIGNED_BYTE, 3], [shape.errors, 1, gl.UNSIGNED_BYTE, 1],
    ];
    attributes.forEach(([values, width, type, stride], place) => {
      if (!values) return gl.disableVertexAttribArray(place);
      gl.bindBuffer(gl.ARRAY_BUFFER, pane.buffers[place]);
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, width, type, true, stride, 0);
    });
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, pane.buffers[4]);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, shape.indices, gl.STATIC_DRAW);
    pane.shape = shape;
  }

  function modeOf(shape) {
    const wanted = root.querySelector("input[name=viewer-mode]:checked")?.value ?? "shaded";
    const missing = (wanted === "colour" && !shape.colours) || (wanted === "error" && !shape.errors);
    return MODES[missing ? "shaded" : wanted];
  }

  function draw(pane) {
    const { gl, canvas, shape, uniforms } = pane;
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
    const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!shape) return;
    const view = basis();
    gl.uniformMatrix4fv(uniforms.matrix, false, viewProjection(view, width / height));
    gl.uniform3fv(uniforms.low, shape.mesh.low);
    gl.uniform3fv(uniforms.size, shape.mesh.size);
    gl.uniform3fv(uniforms.right, view.right);
    gl.uniform3fv(uniforms.above, view.above);
    gl.uniform3fv(uniforms.forward, view.forward);
    gl.uniform1i(uniforms.mode, modeOf(shape));
    const type = shape.indices instanceof Uint32Array ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT;
    gl.drawElements(gl.TRIANGLES, shape.indices.length, type, 0);
  }

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      panes.filter((pane) => !pane.lost).forEach(draw);
      if (panes.every((pane) => pane.shape)) root.dataset.state = "drawn";
    });
  }

  // ---- what the user does --------------------------------------------------------------------------------------------
  async function show(pane) {
    const index = Number(pane.select.value);
    pane.wanted = index;
    status.textContent = `Unpacking ${data.meshes[index].name} …`;
    const shape = await load(index);
    if (pane.wanted !== index) return;
    upload(pane, shape);
    const { name, faces, all_faces } = shape.mesh;
    pane.caption.textContent = faces < all_faces
      ? `${faces.toLocaleString("en").replaceAll(",", "\u202f")} of ${all_faces.toLocaleString("en").replaceAll(",", "\u202f")} faces`
      : `${faces.toLocaleString("en").replaceAll(",", "\u202f")} faces`;
    pane.canvas.setAttribute("aria-label", `${name} in three dimensions. Arrow keys turn, plus and minus zoom, shift with arrows moves.`);
    status.textContent = "";
    redraw();
  }

  function listen(pane) {
    const canvas = pane.canvas, pointers = new Map();
    let spread = 0;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("pointerdown", (event) => {
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      spread = 0;
    });
    for (const kind of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(kind, (event) => { pointers.delete(event.pointerId); spread = 0; });
    }
    canvas.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const dx = (event.clientX - before[0]) / canvas.clientHeight, dy = (event.clientY - before[1]) / canvas.clientHeight;
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (pointers.size >= 2) {
        const [a, b] = [...pointers.values()];
        const now = Math.hypot(a[0] - b[0], a[1] - b[1]);
        if (spread > 0 && now > 0) zoom(spread / now);
        spread = now;
        pan(dx / 2, dy / 2);
      } else if (event.shiftKey || event.buttons & 6) pan(dx, dy);
      else turn(3.5 * dx, 3.5 * dy);
    });
    // The wheel scrolls the page until the view was clicked or tabbed to.
    canvas.addEventListener("wheel", (event) => {
      if (document.activeElement !== canvas && !event.ctrlKey) return;
      event.preventDefault();
      zoom(Math.exp(clamp(event.deltaY, -120, 120) * 0.0016));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const move = event.shiftKey ? (x, y) => pan(x * 0.04, y * 0.04) : (x, y) => turn(x * 0.12, y * 0.12);
      const actions = {
        ArrowLeft: () => move(-1, 0), ArrowRight: () => move(1, 0), ArrowUp: () => move(0, -1), ArrowDown: () => move(0, 1),
        "+": () => zoom(0.87), "=": () => zoom(0.87), "-": () => zoom(1.15), "0": () => lookFrom(0), Home: () => lookFrom(0),
      };
      if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      actions[event.key]();
    });
    canvas.addEventListener("webglcontextlost", (event) => { event.preventDefault(); pane.lost = true; });
    canvas.addEventListener("webglcontextrestored", () => { pane.lost = false; prepare(pane); show(pane); });
    new ResizeObserver(redraw).observe(canvas);
    pane.select.addEventListener("change", () => show(pane).catch(fail));
  }

  function fail(error) {
    root.dataset.state = "unavailable";
    root.querySelector("[data-fallback]").hidden = false;
    root.querySelector("[data-stage]").hidden = true;
    if (error) root.querySelector("[data-reason]").textContent = String(error.message ?? error);
  }

  function start() {
    if (typeof DecompressionStream === "undefined") return fail("This browser cannot unpack the meshes (DecompressionStream).");
    for (const element of root.querySelectorAll("[data-pane]")) {
      const pane = {
        canvas: element.querySelector("canvas"), select: element.querySelector("select"),
        caption: element.querySelector("[data-faces]"),
      };
      if (!prepare(pane)) return fail("WebGL 2 is not available.");
      panes.push(pane);
    }
    panes.forEach(listen);
    const legend = root.querySelector("[data-error-legend]");
    root.querySelectorAll("input[name=viewer-mode]").forEach((input) => input.addEventListener("change", () => {
      if (legend) legend.hidden = input.value !== "error";
      redraw();
    }));
    root.querySelectorAll("button[data-look]").forEach((button) =>
      button.addEventListener("click", () => lookFrom(Number(button.dataset.look))));
    lookFrom(0);
    Promise.all(panes.map(show)).catch(fail);
  }

  // Meshes are unpacked when the view comes near, so that a long page opens quickly.
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    try { start(); } catch (error) { fail(error); }
  }, { rootMargin: "600px" });
  near.observe(root);
})();
