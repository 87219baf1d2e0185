"""The agents of the demo market, each with its listing: one row an agent, the prices in DOF for an hour."""

from __future__ import annotations

from typing import NamedTuple

from domain.agents import AgentType, Provider, Rank, SpecialistType

ASSISTANT, MENTOR, SPECIALIST = AgentType.ASSISTANT, AgentType.MENTOR, AgentType.SPECIALIST
GEMINI, GOOGLE, OPENAI = Provider.GEMINI, Provider.GOOGLE, Provider.OPENAI
BRONZE, SILVER, GOLD, PLATINUM = Rank.BRONZE, Rank.SILVER, Rank.GOLD, Rank.PLATINUM
TRAINED, EXPERIENCE = SpecialistType.TRAINED, SpecialistType.EXPERIENCE

LOL, VALORANT, CS, ELDEN = "League of Legends", "Valorant", "Counter-Strike 2", "Elden Ring"
ROCKET, FC, STARDEW, GT = "Rocket League", "EA Sports FC", "Stardew Valley", "Gran Turismo 7"
SF6, AOE, MINECRAFT, FACTORIO = "Street Fighter 6", "Age of Empires IV", "Minecraft", "Factorio"
DOTA, BG3, POKEMON, CHESS = "Dota 2", "Baldur's Gate 3", "Pokémon VGC", "Chess"

COACHING, COMPANION, STRATEGY, RACING = "Coaching", "Companion", "Strategy", "Racing"
BUILDING, STORY, SHOW = "Building", "Story", "Commentary"


class Row(NamedTuple):
    """One agent and its listing. `given_to` is the creator who owns it today, where that is not who made it.

    `look` says what it has: v a voice chat, c a commentator, m a memory, and * a place among the featured.
    """

    creator: str
    name: str
    type: AgentType
    provider: Provider
    rank: Rank
    nationality: str
    language: str
    game: str
    focus: str
    category: str
    hourly: int
    look: str
    tags: tuple[str, ...]
    title: str
    description: str
    given_to: str | None = None


# fmt: off
ROWS = (
    Row("ada", "Nova", MENTOR, GEMINI, PLATINUM, "Mexican", "es-MX",
        LOL, "Jungle paths and objectives", COACHING, 12_000, "vm*",
        ("jungle", "macro", "ranked"), "Nova: climb with a plan",
        "Nova watches the map with you, calls objectives to the second, and explains each decision afterwards.\n\n"
        "Best for players from Silver to Diamond who want to know why, not only what."),
    Row("ada", "Centella", ASSISTANT, GEMINI, GOLD, "Mexican", "es-MX",
        VALORANT, "Duelists and entry timing", COACHING, 7_500, "v",
        ("aim", "duelist", "español"), "Centella, tu chispa en cada ronda",
        "Calentamientos cortos, entradas limpias y mucho ánimo. Centella corrige sin humillar y celebra "
        "cada ronda ganada."),
    Row("ada", "Abuela Pixel", ASSISTANT, OPENAI, SILVER, "Mexican", "es-MX",
        STARDEW, "Calm farming", COMPANION, 2_400, "vm",
        ("cozy", "farming"), "Abuela Pixel: una tarde en la granja",
        "Cuenta historias, recuerda los cumpleaños del pueblo y nunca te apura."),
    Row("ada", "Quetzal", SPECIALIST, GEMINI, GOLD, "Guatemalan", "es",
        AOE, "Feudal pressure", STRATEGY, 8_800, "m",
        ("rts", "build orders"), "Quetzal, presión desde el minuto cinco",
        "Órdenes de construcción medidas al segundo para siete civilizaciones, y cuándo abandonarlas."),
    Row("ada", "Dicebard", ASSISTANT, OPENAI, BRONZE, "Irish", "en-IE",
        BG3, "Tactics for story lovers", STORY, 3_200, "vc",
        ("rpg", "roleplay"), "Dicebard: your party's fifth voice",
        "Reads the fight, sings about it afterwards, and keeps every spoiler to itself until you ask."),
    Row("ada", "Tablero", MENTOR, GOOGLE, SILVER, "Argentinian", "es-AR",
        CHESS, "Openings for club players", COACHING, 4_000, "m",
        ("openings", "puzzles"), "Tablero: aperturas que se entienden",
        "Tres sistemas, pocas líneas y muchas ideas. Ideal entre 900 y 1600 puntos."),
    Row("kenji", "Hanabi", MENTOR, GEMINI, PLATINUM, "Japanese", "ja",
        SF6, "Combos and wake-up pressure", COACHING, 14_000, "v*",
        ("fighting", "frame data"), "花火: 一フレームの差をなくす",
        "コンボ、起き攻め、フレームデータを実戦の中で教えます。リプレイを見ながら、次の一手を一緒に考えます。"),
    Row("kenji", "Mochi", ASSISTANT, GEMINI, GOLD, "Japanese", "ja",
        POKEMON, "Team building and damage", STRATEGY, 6_400, "m",
        ("team building", "doubles"), "もち: やさしいチームづくり",
        "好きなポケモンを活かした構築を提案し、ダメージ計算もその場で答えます。"),
    Row("kenji", "Jade Wind", ASSISTANT, GOOGLE, SILVER, "Chinese", "zh-Hans",
        LOL, "Support and vision", COACHING, 5_200, "v",
        ("support", "vision", "中文"), "翠风: 视野就是胜利",
        "辅助位教练: 眼位、游走时机和团战站位, 声音温和, 建议简短。"),
    Row("kenji", "Foundry", SPECIALIST, OPENAI, GOLD, "Japanese", "en",
        MINECRAFT, "Redstone and automation", BUILDING, 5_600, "m",
        ("redstone", "automation"), "Foundry: redstone without tears",
        "From a first repeater to a sorted storage hall. Foundry draws each circuit as a list that you can follow."),
    Row("kenji", "Ronin", SPECIALIST, GEMINI, SILVER, "Japanese", "en",
        ELDEN, "Katana builds", COACHING, 6_000, "",
        ("bleed", "bosses"), "Ronin: two swords, no fear",
        "Builds, routes and the one opening that each boss leaves."),
    Row("lena", "Brim", MENTOR, OPENAI, PLATINUM, "German", "en",
        ELDEN, "Bosses and builds", COACHING, 11_000, "vm*",
        ("bosses", "builds", "patience"), "Brim: every boss can be read",
        "Brim watches your attempts, names the move that killed you, and gives you one thing to change. One, not ten."),
    Row("lena", "Gambit", MENTOR, GOOGLE, PLATINUM, "German", "de",
        CHESS, "Middlegame plans", STRATEGY, 9_000, "m*",
        ("endgame", "plans", "analysis"), "Gambit: ein geduldiger Lehrer",
        "Gambit fragt, bis du den Zug selbst findest. Für alle zwischen 1200 und 2000 Punkten, auf Deutsch "
        "und Englisch."),
    Row("lena", "Siege", SPECIALIST, GEMINI, GOLD, "Polish", "pl",
        AOE, "Castle timings", STRATEGY, 8_200, "",
        ("rts", "timings"), "Siege: konkretne timingi",
        "Kolejność budowy, momenty ataku i obrona przed wczesną presją. Bez lania wody."),
    Row("lena", "Zahnrad", ASSISTANT, OPENAI, BRONZE, "Austrian", "de-AT",
        FACTORIO, "First factory", BUILDING, 2_800, "",
        ("beginner", "automation"), "Zahnrad: deine erste Fabrik",
        "Vom ersten Bohrer bis zur Eisenbahn, Schritt für Schritt und ohne Spaghetti."),
    Row("lena", "Wächter", ASSISTANT, GEMINI, SILVER, "German", "de",
        DOTA, "Warding", COACHING, 4_800, "v",
        ("support", "vision"), "Wächter: wer sieht, gewinnt",
        "Sagt dir, wo das nächste Ward hingehört, und warum das letzte nichts gesehen hat."),
    Row("thiago", "Rumba", MENTOR, GEMINI, PLATINUM, "Brazilian", "pt-BR",
        FC, "Tactics and defending", COACHING, 10_500, "vc*",
        ("tactics", "defending", "português"), "Rumba: defenda com a bola",
        "Formação, pressão e troca de marcação, com a energia de um estádio cheio."),
    Row("thiago", "Onça", ASSISTANT, OPENAI, GOLD, "Brazilian", "pt-BR",
        VALORANT, "Map reading", COACHING, 6_800, "v",
        ("controller", "smokes"), "Onça: leia o mapa antes deles",
        "Fumaças, retomadas e leitura de economia. Fala pelos cotovelos e acerta quase sempre."),
    Row("thiago", "Turbo", SPECIALIST, GEMINI, GOLD, "Brazilian", "pt-BR",
        GT, "Racing lines", RACING, 7_000, "v",
        ("lines", "braking"), "Turbo: meio segundo por volta",
        "Pontos de freada, traçado e gestão de pneus em vinte circuitos."),
    Row("thiago", "Wrench", SPECIALIST, GOOGLE, BRONZE, "Italian", "it",
        GT, "Car set-ups", RACING, 3_600, "",
        ("set-up", "tuning"), "Wrench: assetti per ogni pista",
        "Sospensioni, rapporti e differenziale: un assetto di partenza per ogni circuito."),
    Row("thiago", "Capivara", ASSISTANT, GEMINI, BRONZE, "Brazilian", "pt-BR",
        STARDEW, "Slow seasons", COMPANION, 1_500, "vm",
        ("cozy", "friendly"), "Capivara: sem pressa nenhuma",
        "Planta, pesca e conversa. Lembra da sua fazenda e dos seus amigos."),
    Row("amira", "Sahra", MENTOR, GEMINI, PLATINUM, "Moroccan", "ar",
        VALORANT, "Team play", COACHING, 13_000, "vm*",
        ("team play", "العربية"), "صحراء: العبوا كفريق واحد",
        "تشرح الأدوار والتوقيت بهدوء، وتراجع معك كل جولة خسرتها لتعرف السبب."),
    Row("amira", "Falcon", ASSISTANT, OPENAI, GOLD, "Saudi", "ar",
        FC, "Quick counter-attacks", COACHING, 7_200, "vc",
        ("counter", "tactics"), "فالكون: هجمات مرتدة خاطفة",
        "ردود سريعة ونصائح عملية أثناء المباراة، وتعليق حماسي بعد كل هدف."),
    Row("amira", "Aegis", ASSISTANT, GOOGLE, SILVER, "Lebanese", "en",
        DOTA, "Drafts", STRATEGY, 5_000, "",
        ("draft", "counters"), "Aegis: win the draft first",
        "Counters, lanes and power spikes for the current patch, in one line each."),
    Row("amira", "Zellij", SPECIALIST, GEMINI, SILVER, "Moroccan", "fr",
        MINECRAFT, "Patterns and palaces", BUILDING, 4_400, "",
        ("building", "design"), "Zellij : palais et mosaïques",
        "Motifs géométriques, proportions et palettes, bloc par bloc."),
    Row("amira", "Djinn", ASSISTANT, OPENAI, BRONZE, "Tunisian", "fr",
        BG3, "Choices and consequences", STORY, 2_900, "vm",
        ("roleplay", "choices"), "Djinn : trois vœux par chapitre",
        "Un compagnon malicieux qui se souvient de chaque promesse que vous avez faite."),
    Row("sunny", "Aria", MENTOR, OPENAI, PLATINUM, "South Korean", "ko",
        LOL, "Team fights", COACHING, 15_000, "v*",
        ("team fights", "adc"), "아리아: 한타의 모든 것",
        "포지셔닝, 스킬 순서, 시야 장악까지 프로의 눈으로 설명합니다. 매 판 끝에 세 줄 요약을 드려요."),
    Row("sunny", "Dancheong", SPECIALIST, GEMINI, GOLD, "South Korean", "ko",
        DOTA, "Carry farming", COACHING, 8_000, "",
        ("carry", "farming"), "단청: 분당 골드를 높이는 법",
        "동선, 정글링, 아이템 타이밍을 숫자로 보여 드립니다."),
    Row("sunny", "Baduk", MENTOR, GOOGLE, SILVER, "South Korean", "ko",
        CHESS, "From Go to chess", STRATEGY, 3_800, "m",
        ("beginner", "plans"), "바둑인을 위한 체스",
        "바둑의 눈으로 배우는 체스 전략. 처음이라도 괜찮아요."),
    Row("sunny", "Cyber Haenyeo", ASSISTANT, GEMINI, SILVER, "South Korean", "ko",
        POKEMON, "Rain teams", STRATEGY, 4_600, "",
        ("doubles", "rain"), "비파티 연구소",
        "비파티의 빌드와 대처법을 데이터로 정리해 드립니다."),
    Row("sunny", "Neon", ASSISTANT, OPENAI, BRONZE, "South Korean", "en",
        SF6, "First steps", COACHING, 2_600, "v",
        ("beginner", "fighting"), "Neon: your first ten wins",
        "Modern controls, one anti-air, one combo. Everything else can wait."),
    Row("oskar", "Kestrel", MENTOR, GEMINI, PLATINUM, "Swedish", "en",
        CS, "Aim and positioning", COACHING, 13_500, "v*",
        ("aim", "positioning", "ranked"), "Kestrel: two habits an hour",
        "Finds the two habits that cost you most rounds, and gives you drills that take ten minutes a day."),
    Row("oskar", "Fjord", SPECIALIST, GOOGLE, GOLD, "Norwegian", "nb",
        GT, "Rain and night", RACING, 7_800, "vm",
        ("rain", "lines"), "Fjord: trygg i regn",
        "Rolig stemme, presise bremsepunkter, og sporvalg når banen er våt."),
    Row("oskar", "Cogsworth", SPECIALIST, OPENAI, GOLD, "Swedish", "en",
        FACTORIO, "Belts and trains", BUILDING, 6_600, "m",
        ("trains", "ratios"), "Cogsworth: ratios, trains, rockets",
        "Reads a screenshot of your base and tells you the next bottleneck before you reach it."),
    Row("oskar", "Pinball", ASSISTANT, GEMINI, SILVER, "Swedish", "sv",
        ROCKET, "Aerials", COACHING, 4_200, "c",
        ("aerials", "training"), "Pinball: lär dig flyga",
        "Träningspaket för luftspel, från första hoppet till dubbla beröringar."),
    Row("oskar", "Headshot Hal", ASSISTANT, OPENAI, SILVER, "Danish", "en",
        CS, "Utility", COACHING, 3_900, "v",
        ("smokes", "utility"), "Headshot Hal: smokes for every site",
        "Four smokes and two flashes for each map, in the order in which you need them."),
    Row("claire", "Maestro", SPECIALIST, OPENAI, PLATINUM, "French", "fr",
        ROCKET, "Live commentary", SHOW, 9_900, "vc*",
        ("commentary", "fun"), "Maestro : chaque but mérite son orchestre",
        "Un commentaire en direct, lyrique et de mauvaise foi, qui connaît votre pseudo et vos plus beaux ratés."),
    Row("claire", "Truffle", ASSISTANT, GEMINI, GOLD, "French", "fr",
        STARDEW, "Season plans", COMPANION, 5_400, "vm",
        ("cozy", "planning"), "Truffle : une ferme rentable et paisible",
        "Des plans de saison simples, les goûts de chaque voisin, et jamais de reproches."),
    Row("claire", "Lorekeeper", ASSISTANT, OPENAI, GOLD, "Canadian", "en-CA",
        BG3, "Companions and lore", STORY, 6_200, "vcm",
        ("lore", "roleplay"), "Lorekeeper: remembers what you promised",
        "Knows every companion's past, keeps a diary of your choices, and speaks in their voices.", given_to="ada"),
    Row("claire", "Bastide", MENTOR, GOOGLE, BRONZE, "French", "fr",
        AOE, "Walls and economy", STRATEGY, 3_000, "",
        ("beginner", "economy"), "Bastide : l'économie d'abord",
        "Pour débuter sans stress : villageois, murs, et la première bataille au bon moment."),
)
# fmt: on
