// Pictures of samples, cut out of sprites that are decoded when the first of them is wanted.

async function thumbnailsOf() {
  const stored = page.thumbnails;
  if (!stored) return null;
  const { side_px: side, across } = stored;
  const { values } = unpacked(stored.rows, await inflated(block(stored.rows.block)), stored.count);
  const placeOf = new Map();
  values.forEach((row, place) => placeOf.set(row, place));
  const sprites = new Map();
  const perSprite = across * across;
  function sprite(number) {
    if (!sprites.has(number)) {
      const image = new Image();
      image.src = URL.createObjectURL(new Blob([block(stored.blocks[number])], { type: "image/jpeg" }));
      sprites.set(
        number,
        image.decode().then(() => image),
      );
    }
    return sprites.get(number);
  }
  // Draws the picture of a sample over a canvas; false where there is none.
  async function draw(row, canvas) {
    const place = placeOf.get(row);
    if (place === undefined) return false;
    const image = await sprite(Math.floor(place / perSprite));
    const within = place % perSprite;
    const [left, top] = [(within % across) * side, Math.floor(within / across) * side];
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, left, top, side, side, 0, 0, canvas.width, canvas.height);
    return true;
  }
  const has = (row) => placeOf.has(row);
  // A picture that is there when it is drawn.
  function picture(row, label) {
    const canvas = element("canvas", {
      width: side,
      height: side,
      className: "thumbnail",
      role: "img",
      "aria-label": label,
    });
    draw(row, canvas);
    return canvas;
  }
  return { has, draw, picture, side, rows: values };
}
