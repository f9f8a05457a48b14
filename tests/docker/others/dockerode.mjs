// What a user of dockerode writes.
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import Docker from "dockerode";

const NAME = "others-dockerode";
const docker = new Docker();

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts.map((part) => Buffer.from(part))).toString();
}

async function demuxed(container, stream) {
  const [out, err] = [new PassThrough(), new PassThrough()];
  docker.modem.demuxStream(stream, out, err);
  stream.on("end", () => (out.end(), err.end()));
  return Promise.all([collect(out), collect(err)]);
}

const steps = {
  async looks() {
    assert.equal((await docker.ping()).toString(), "OK");
    assert.equal((await docker.info()).OSType, "linux");
    assert.ok((await docker.version()).ApiVersion);
    assert.ok((await docker.df()).Images);
  },
  async pulls() {
    const stream = await docker.pull("busybox:latest");
    const said = await new Promise((done, fail) => docker.modem.followProgress(stream, (error, all) => (error ? fail(error) : done(all))));
    assert.match(said.at(-1).status, /Image is up to date|Downloaded newer image/);
  },
  async runs() {
    const out = new PassThrough();
    const said = collect(out);
    const [end, container] = await docker.run("busybox", ["sh", "-c", "echo hello"], out, { Tty: true });
    out.end();
    assert.equal(end.StatusCode, 0);
    assert.equal(await said, "hello\r\n");
    await container.remove();
  },
  async attaches() {
    const container = await docker.createContainer({
      Image: "busybox", Cmd: ["cat"], name: NAME, OpenStdin: true, StdinOnce: true, AttachStdin: true, AttachStdout: true,
      Labels: { [NAME]: "1" },
    });
    const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
    const said = demuxed(container, stream);
    await container.start();
    stream.end("typed\n");
    assert.equal((await container.wait()).StatusCode, 0);
    assert.deepEqual(await said, ["typed\n", ""]);
    await container.remove();
  },
  async executes() {
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["sleep", "600"], name: NAME, HostConfig: { Memory: 67108864 } });
    await container.start();
    const exec = await container.exec({ Cmd: ["sh", "-c", "cat; echo err >&2; exit 6"], AttachStdin: true, AttachStdout: true, AttachStderr: true });
    const stream = await exec.start({ hijack: true, stdin: true });
    const said = demuxed(container, stream);
    stream.end("in\n");
    assert.deepEqual(await said, ["in\n", "err\n"]);
    assert.equal((await exec.inspect()).ExitCode, 6);
    assert.ok((await container.stats({ stream: false })).memory_stats.usage > 0);
    assert.equal((await container.inspect()).HostConfig.Memory, 67108864);
    assert.ok((await container.top()).Processes.length);
    const archive = await collect(await container.getArchive({ path: "/etc/passwd" }));
    assert.match(archive, /root:x:0:0/);
    await container.remove({ force: true, v: true });
  },
  async follows() {
    const container = await docker.createContainer({ Image: "busybox", Cmd: ["sh", "-c", "echo one; sleep 0.3; echo two"], name: NAME });
    await container.start();
    const [out] = await demuxed(container, await container.logs({ follow: true, stdout: true, stderr: true }));
    assert.equal(out, "one\ntwo\n");
    assert.equal((await container.logs({ stdout: true, tail: 1 })).subarray(8).toString(), "two\n");
    await container.remove({ force: true });
  },
  async lists() {
    const network = await docker.createNetwork({ Name: NAME });
    assert.equal((await network.inspect()).Name, NAME);
    await network.remove();
    const volume = await docker.createVolume({ Name: NAME });
    assert.ok((await docker.listVolumes({ filters: { name: [NAME] } })).Volumes.length);
    await volume.remove();
    assert.ok((await docker.listImages({ filters: { reference: ["busybox"] } })).length);
    assert.ok((await docker.getImage("busybox").inspect()).Id);
  },
  async fails() {
    for (const [call, status] of [
      [() => docker.getContainer("nosuch").inspect(), 404],
      [() => docker.createContainer({ Image: "nosuch-image" }), 404],
      [() => docker.createContainer({ Image: "busybox", HostConfig: { Memory: 1 } }), 400],
    ]) {
      await assert.rejects(call, (error) => error.statusCode === status && Boolean(error.json.message));
    }
  },
  async hears() {
    const events = await docker.getEvents({ filters: { label: [NAME] } });
    const [, container] = await docker.run("busybox", ["true"], new PassThrough(), { Labels: { [NAME]: "1" } });
    await container.remove();
    const seen = [];
    let rest = "";
    for await (const part of events) {
      rest += part;
      for (let at; (at = rest.indexOf("\n")) >= 0; rest = rest.slice(at + 1)) seen.push(JSON.parse(rest.slice(0, at)).Action);
      if (seen.includes("destroy")) break;
    }
    assert.deepEqual(seen, ["create", "attach", "start", "die", "destroy"]);
  },
};

await docker.getContainer(NAME).remove({ force: true }).catch(() => {});
for (const [name, step] of Object.entries(steps)) {
  await step();
  console.log(`ok ${name}`);
}
process.exit(0);
