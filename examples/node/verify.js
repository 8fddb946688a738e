#!/usr/bin/env node
// A counter's client of biometrik.v1: enrols, verifies and identifies people, and says in words what came of it.
//   node verify.js enroll   SUBJECT PHOTO...  [--transaction ID]
//   node verify.js verify   SUBJECT PHOTO...  [--fmr 0.001]
//   node verify.js identify PHOTO...          [--fpir 0.01]
// Exit status: 0 enrolled or match, 1 no match, 3 nothing can be said, 4 error.
'use strict';

const { randomUUID } = require('node:crypto');
const { readFileSync } = require('node:fs');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { parseArgs } = require('node:util');
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

// Unknown enum values of a newer server stay numbers; unknown fields are ignored.
const FORM = { keepCase: true, enums: String, longs: Number, defaults: true };
const { v1 } = grpc.loadPackageDefinition(
  loader.loadSync(
    ['enrollment', 'verification', 'identification'].map((name) => `biometrik/v1/${name}_service.proto`),
    { ...FORM, includeDirs: [path.join(__dirname, '..', '..', 'proto')] },
  ),
).biometrik;
// The part of google/rpc that says why a call failed; it comes in the trailer grpc-status-details-bin.
const text = (id) => ({ type: 'string', id });
const rpc = loader.fromJSON({
  nested: {
    Any: { fields: { type_url: text(1), value: { type: 'bytes', id: 2 } } },
    Status: { fields: { message: text(2), details: { rule: 'repeated', type: 'Any', id: 3 } } },
    ErrorInfo: { fields: { reason: text(1), domain: text(2), metadata: { keyType: 'string', ...text(3) } } },
    LocalizedMessage: { fields: { locale: text(1), message: text(2) } },
  },
}, FORM);

function explained(error) {
  if (!(error.metadata instanceof grpc.Metadata)) return { reason: 'NOT_SENT', forTheOperator: error.message };
  const found = {};
  for (const trailer of error.metadata.get('grpc-status-details-bin')) {
    for (const { type_url: url, value } of rpc.Status.deserialize(trailer).details) {
      const name = url.slice(url.lastIndexOf('.') + 1);
      if (name in rpc) found[name] = rpc[name].deserialize(value);
    }
  }
  const { ErrorInfo: info, LocalizedMessage: said } = found;
  return {
    reason: info?.domain === 'biometrik' ? info.reason : grpc.status[error.code],
    forTheOperator: said?.message ?? 'The service cannot be asked: call the administrator.',
    forTheLog: `${error.details} ${JSON.stringify(info?.metadata ?? {})}`,
  };
}

// One deadline for all attempts. UNAVAILABLE is tried again: nothing was done, or it was done and the answer was lost,
// and then the same transaction_id gets the first answer.
async function answered(client, method, request, { metadata, timeoutS }) {
  const deadline = Date.now() + timeoutS * 1000;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await new Promise((resolve, reject) => {
        client[method](request, metadata, { deadline }, (error, answer) => (error ? reject(error) : resolve(answer)));
      });
    } catch (error) {
      const pauseMs = Math.min(2000, 100 * 2 ** attempt) * (0.5 + Math.random() / 2);
      if (error.code !== grpc.status.UNAVAILABLE || Date.now() + pauseMs >= deadline) throw error;
      await sleep(pauseMs);
    }
  }
}

// Leaves this machine only through TLS, so a token is never sent in the clear.
function credentials({ address, ca, cert, key }) {
  const local = /^(unix:|localhost:|127\.|\[::1\]:)/.test(address);
  if (local && !ca) return grpc.credentials.createInsecure();
  return grpc.credentials.createSsl(...[ca, key, cert].map((file) => (file ? readFileSync(file) : null)));
}

const word = (value, prefix) => String(value).replace(prefix, '');
const oneIn = (rate) => `1 in ${Math.round(1 / rate).toLocaleString('en')}`;
const advice = (rows) => rows.map((row) => `  ${row.text}`);
const SAID = { MATCH: 0, ENROLLED: 0, NO_MATCH: 1 };

const COMMANDS = {
  async enroll(ask, context, [subject, ...photos], options) {
    context.transaction_id = options.transaction ?? randomUUID();
    const request = { context, subject_id: subject, samples: samples(photos) };
    const enrolled = await ask(v1.EnrollmentService, 'Enroll', request);
    const outcome = word(enrolled.outcome, 'ENROLLMENT_OUTCOME_');
    const what = outcome === 'ENROLLED' ? `encounter ${enrolled.encounter_id}` : 'nothing was stored';
    return { outcome, lines: [`${subject}: ${what}`, ...enrolled.samples.flatMap((sample) => advice(sample.advice))] };
  },

  async verify(ask, context, [subject, ...photos], options) {
    const threshold = options.fmr ? { fmr: Number(options.fmr) } : undefined;
    const request = { context, subject_id: subject, samples: samples(photos), threshold };
    const { decision } = await ask(v1.VerificationService, 'Verify', request);
    const score = decision.score === undefined ? 'nothing was compared' : `score ${decision.score.toFixed(1)}`;
    const needed = `${decision.threshold.toFixed(1)} is needed, which ${oneIn(decision.max_fmr)} strangers would reach`;
    const lines = [`claimed to be ${subject}: ${score}; ${needed}`, ...advice(decision.advice)];
    return { outcome: word(decision.outcome, 'OUTCOME_'), lines };
  },

  async identify(ask, context, photos, options) {
    const threshold = options.fpir ? { fpir: Number(options.fpir) } : undefined;
    const request = { context, samples: samples(photos), options: { threshold, max_candidates: 3 } };
    const { identification: found } = await ask(v1.IdentificationService, 'Identify', request);
    const row = ({ rank, subject_id: subject, score, is_match: matches }) =>
      `  ${rank}. ${subject}: score ${score.toFixed(1)}${matches ? ', reaches the threshold' : ''}`;
    const lines = [`searched ${found.coverage?.subjects ?? 0} subjects`, ...found.candidates.map(row)];
    return { outcome: word(found.outcome, 'OUTCOME_'), lines: [...lines, ...advice(found.advice)] };
  },
};

const samples = (photos) => photos.map((file) => ({ sample: { modality: 'MODALITY_FACE', data: readFileSync(file) } }));

async function main() {
  const flags = 'address ca cert key server-name locale timeout transaction fmr fpir'.split(' ');
  const { values: options, positionals: [command, ...rest] } = parseArgs({
    allowPositionals: true,
    options: Object.fromEntries(flags.map((name) => [name, { type: 'string' }])),
  });
  if (!Object.hasOwn(COMMANDS, command ?? '') || rest.length < (command === 'identify' ? 1 : 2)) {
    throw new Error('expected: enroll SUBJECT PHOTO... | verify SUBJECT PHOTO... | identify PHOTO...');
  }
  const address = options.address ?? '127.0.0.1:50051';
  const metadata = new grpc.Metadata();
  if (process.env.BIOMETRIK_TOKEN) metadata.set('authorization', `Bearer ${process.env.BIOMETRIK_TOKEN}`);
  const channel = { 'grpc.max_receive_message_length': 16 << 20, 'grpc.keepalive_time_ms': 60_000 };
  if (options['server-name']) channel['grpc.ssl_target_name_override'] = options['server-name'];
  const ask = async (Service, method, request) => {
    const client = new Service(address, credentials({ ...options, address }), channel);
    try {
      return await answered(client, method, request, { metadata, timeoutS: Number(options.timeout ?? 60) });
    } finally {
      client.close();
    }
  };
  const { outcome, lines } = await COMMANDS[command](ask, { locale: options.locale ?? 'en' }, rest, options);
  console.log([outcome, ...lines].join('\n'));
  return SAID[outcome] ?? 3;
}

main().then(
  (status) => { process.exitCode = status; },
  (error) => {
    const { reason, forTheOperator, forTheLog } = explained(error);
    console.log(`ERROR ${reason}\n  ${forTheOperator}`);
    if (forTheLog) console.error(forTheLog);
    process.exitCode = 4;
  },
);
